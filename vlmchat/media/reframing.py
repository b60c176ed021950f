"""Other frames for a video that is attached: chosen anew, some left out, some put in.

What decodes says so, and is for worker threads.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from vlmchat.chat.messages import Clip, VideoPart
from vlmchat.errors import UsageError
from vlmchat.media.attaching import Attached, sampled_anew
from vlmchat.media.frames import EDGE, attach_frames, video_path
from vlmchat.media.rules import rules
from vlmchat.media.video.plan import Sampling, clock
from vlmchat.media.video.sampling import frames_at


def reframed(
    part: VideoPart,
    sampling: Sampling | None = None,
    drop: Sequence[int] = (),
    add: Sequence[float] = (),
) -> Attached:
    """Return a video with other frames; blocking, as it may decode.

    Args:
        part: the video.
        sampling: choose all frames anew; ``None`` keeps those it has.
        drop: numbers of frames to leave out, from 1.
        add: moments whose frames are put in, seconds.

    Raises:
        MediaError: the file is gone or can no longer be decoded.
        UsageError: no frame would be left, or a number or a moment lies outside.
    """
    notes: tuple[str, ...] = ()
    if sampling is not None:
        anew = sampled_anew(part, sampling)
        assert isinstance(anew.part, VideoPart)
        part, notes = anew.part, anew.notes
    if drop:
        part = without(part, drop)
    if add:
        part = with_moments(part, add)
    return Attached(part, notes)


def without(part: VideoPart, numbers: Iterable[int]) -> VideoPart:
    """Return a video without those of its frames (from 1).

    Raises:
        UsageError: there is no such frame, or none would be left.
    """
    times = part.clip.times
    gone = set(numbers)
    if wrong := sorted(number for number in gone if not 1 <= number <= len(times)):
        raise UsageError(f"There is no frame {wrong[0]}: they go from 1 to {len(times)}.")
    left = tuple(time for number, time in enumerate(times, 1) if number not in gone)
    if not left:
        raise UsageError("One frame has to stay: /detach takes the video away.")
    return VideoPart(part.media, replace(part.clip, times=left))


def with_moments(part: VideoPart, moments: Sequence[float]) -> VideoPart:
    """Return a video with the frames that are shown at these moments too; blocking.

    Raises:
        MediaError: the file is gone or can no longer be decoded.
        UsageError: a moment lies behind the end.
    """
    duration = part.clip.duration
    for moment in moments:
        if duration is not None and moment > duration:
            raise UsageError(f"The video ends at {clock(duration)}: choose an earlier moment.")
    there = rules()
    found = frames_at(
        video_path(part.media), moments, EDGE, there.video_limits, background=there.background
    )
    new = attach_frames(part.media, found.frames, duration)
    times = sorted({*part.clip.times, *new.clip.times})
    return VideoPart(part.media, Clip(tuple(times), duration))

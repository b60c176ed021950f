"""The frames of a video that a model gets, as pictures; decoded once and kept for a while.

Everything here may read and decode for seconds: call it from a worker thread.
"""

import io
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from vlmchat.chat.messages import Clip, Media, VideoPart
from vlmchat.errors import MediaError
from vlmchat.media.rules import rules
from vlmchat.media.video.plan import clock
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from vlmchat.media.video.info import Frame

# Longest edge of a frame, pixels: that of a tile of the larger models. Smaller ones get it scaled
# down once more, as their own processors do.
EDGE = 512
_BUDGET = 96_000_000


class FrameCache:
    """Encoded frames by video, time and background; those not used for longest go first.

    May be used from several threads.

    Args:
        budget: the most that all frames together may have, bytes.
    """

    def __init__(self, budget: int = _BUDGET) -> None:
        self._budget = budget
        self._total = 0
        self._kept: OrderedDict[tuple[str, float, str], Media] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, sha256: str, time: float) -> Media | None:
        """Return a frame that was kept."""
        key = (sha256, time, rules().background)
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def put(self, sha256: str, time: float, frame: Media) -> None:
        """Keep a frame."""
        key = (sha256, time, rules().background)
        with self._lock:
            before = self._kept.pop(key, None)
            self._total += frame.size - (before.size if before else 0)
            self._kept[key] = frame
            while self._total > self._budget and len(self._kept) > 1:
                _, gone = self._kept.popitem(last=False)
                self._total -= gone.size


_cache = FrameCache()


def frames_of(part: VideoPart, check: Callable[[], None] | None = None) -> list[Media]:
    """Return the frames that `part` names, as PNG pictures, in its order.

    Args:
        part: a video whose file is at hand.
        check: called while decoding; raises to cancel.

    Raises:
        MediaError: the file is gone or can no longer be decoded.
    """
    video = part.media
    found = {time: _cache.get(video.sha256, time) for time in part.clip.times}
    missing = [time for time, frame in found.items() if frame is None]
    if missing:
        found |= _decoded(video, missing, check)
    return [frame for frame in found.values() if frame is not None]


def _decoded(
    video: Media, times: Sequence[float], check: Callable[[], None] | None
) -> dict[float, Media]:
    from vlmchat.media.video.sampling import frames_at

    if video.file is None:
        raise MediaError(f"“{visible_line(video.name)}” is not on the disk any more.")
    there = rules()
    sampled = frames_at(
        video.file, times, EDGE, there.video_limits, background=there.background, check=check
    )
    if len(sampled.frames) < len(times):
        # Several moments may lie within one frame of a damaged file.
        raise MediaError(
            f"“{visible_line(video.name)}” has only {len(sampled.frames)} of the {len(times)} "
            "frames it had: the file has changed or is damaged."
        )
    return {
        time: _kept(video, time, frame) for time, frame in zip(times, sampled.frames, strict=True)
    }


def _kept(video: Media, time: float, frame: "Frame") -> Media:
    buffer = io.BytesIO()
    frame.image.save(buffer, "PNG", compress_level=1)
    name = f"{video.name} {clock(time)}"
    picture = Media.held(buffer.getvalue(), name, "image/png", *frame.image.size)
    _cache.put(video.sha256, time, picture)
    return picture


def attach_frames(video: Media, frames: "Sequence[Frame]", duration: float | None) -> VideoPart:
    """Return `video` as an attachment that names these frames, and keep them.

    Args:
        video: the file.
        frames: at least one, in order of time.
        duration: of the whole video, seconds.
    """
    distinct = [frames[0], *(b for a, b in pairwise(frames) if b.time > a.time)]
    for frame in distinct:
        _kept(video, frame.time, frame)
    return VideoPart(video, Clip(tuple(frame.time for frame in distinct), duration))


def video_path(media: Media) -> Path:
    """Return where a video lies.

    Raises:
        MediaError: nowhere.
    """
    if media.file is None:
        raise MediaError(f"“{visible_line(media.name)}” is not on the disk any more.")
    return media.file

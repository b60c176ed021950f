"""Videos as pictures to look at: their frames one by one, and a sheet of a few of them.

Light at import; what reads and decodes says so, and is for worker threads.
"""

import hashlib
import io
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vlmchat.chat.messages import Attachment, Clip, Media, VideoPart
from vlmchat.media.video.plan import Sampling, clock

if TYPE_CHECKING:
    from PIL.Image import Image

# One video is decoded at a time: several at once would only fill the memory.
_decoding = threading.Lock()
_SHEET = 4


@dataclass(frozen=True, slots=True)
class FrameMedia(Media):
    """A frame of a video as a picture that is decoded when it is read.

    Attributes:
        video: what it is a frame of; `size` is 0, as nobody knows it before it is decoded.
    """

    video: Media | None = None


def time_labels(times: Sequence[float]) -> list[str]:
    """Return how moments are written: ``0:07``, with tenths or hundredths where it takes them."""
    for digits in range(3):
        scale = 10**digits
        # Cut, not rounded: a frame that begins at 6.99 s is not the one at 0:07.
        fractions = [int(time * scale + 1e-6) % scale for time in times]
        labels = [
            clock(time + 1e-6) + (f".{part:0{digits}d}" if digits else "")
            for time, part in zip(times, fractions, strict=True)
        ]
        if len(set(labels)) == len(labels):
            break
    return labels


def frame_media(part: VideoPart) -> list[Media]:
    """Return the frames that the model gets of a video, as pictures; nothing is decoded yet."""
    video = part.media
    return [
        FrameMedia(
            hashlib.sha256(f"{video.sha256} {time!r}".encode()).hexdigest(),
            f"{video.name} {label}",
            "image/png",
            video.width,
            video.height,
            0,
            partial(_frame_data, part, time),
            video=video,
        )
        for time, label in zip(part.clip.times, time_labels(part.clip.times), strict=True)
    ]


def looked_at(parts: Sequence[Attachment], place: int) -> tuple[list[Media | Attachment], int]:
    """Return pictures and all frames of videos in their order, and where those of one part begin.

    Args:
        parts: what is looked at.
        place: the number of the one that is wanted, from 0.
    """
    found: list[Media | Attachment] = []
    begin = 0
    for number, part in enumerate(parts):
        if number == place:
            begin = len(found)
        found += frame_media(part) if isinstance(part, VideoPart) else [part]
    return found, begin


def _frame_data(part: VideoPart, time: float) -> bytes:
    return _frame(part, time).data


def _frame(part: VideoPart, time: float) -> Media:
    from vlmchat.media.frames import frames_of

    with _decoding:
        # All of them: the others are likely to be wanted next, and are kept for a while.
        frames = frames_of(part)
    return frames[part.clip.times.index(time)]


def frame_thumbnail(part: VideoPart, time: float, size: tuple[int, int]) -> "Image":
    """Return a small picture of a frame, from the cache or by decoding; blocking.

    Args:
        part: the video; `time` is one of its clip's.
        time: of the frame, seconds.
        size: the pixels that are needed; see `thumbnails.thumbnail`.

    Raises:
        MediaError: the video is gone or can no longer be decoded.
    """
    from vlmchat.media.rules import rules
    from vlmchat.media.thumbnails import cached, thumbnail

    key = f"{part.media.sha256}-{time!r}-{rules().background}"
    if (image := cached(key, size)) is not None:
        return image
    frame = _frame(part, time)
    return thumbnail(frame.data, key, size, frame.name, frame.mime)


def sheet(path: Path, edge: int) -> "Image":
    """Return one picture of a video: its first frame above and beside three later ones.

    It has the video's own proportions, as each frame has half of the width and of the height. A
    video with fewer frames is shown by its first.

    Args:
        path: of the video.
        edge: the longest edge of the result, pixels.

    Raises:
        MediaError: it cannot be read or decoded.
    """
    from PIL import Image

    from vlmchat.media.rules import rules
    from vlmchat.media.video.sampling import sample

    there = rules()
    few = Sampling(fps=1000.0, max_frames=_SHEET)
    with _decoding:
        found = sample(path, few, edge // 2, there.video_limits, background=there.background)
    pictures = [frame.image for frame in found.frames]
    width, height = pictures[0].size
    if len(pictures) < _SHEET:
        return pictures[0]
    whole = Image.new("RGB", (2 * width, 2 * height))
    for number, picture in enumerate(pictures[:_SHEET]):
        whole.paste(picture, (number % 2 * width, number // 2 * height))
    return whole


def sheet_media(video: Media) -> Media:
    """Return a video as one picture, which is made when it is read."""
    assert video.file is not None
    return FrameMedia(
        hashlib.sha256(f"{video.sha256} sheet".encode()).hexdigest(),
        video.name,
        "image/png",
        video.width,
        video.height,
        0,
        partial(_sheet_data, video.file),
        video=video,
    )


def _sheet_data(path: Path) -> bytes:
    buffer = io.BytesIO()
    sheet(path, 1024).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def describe_video(path: Path) -> str:
    """Return size and length of the video at `path`, as ``640×480 · 0:30 · h264``; blocking.

    Raises:
        MediaError: it is none, or damaged.
    """
    from vlmchat.media.rules import rules
    from vlmchat.media.video.probing import probe

    info = probe(path, rules().video_limits)
    length = "" if info.duration is None else f" · {clock(info.duration)}"
    return f"{info.width}×{info.height}{length} · {info.codec}"


def first_clip(video: Media) -> VideoPart:
    """Return a stored video as an attachment that is to be sampled yet."""
    return VideoPart(video, Clip((0.0,)))

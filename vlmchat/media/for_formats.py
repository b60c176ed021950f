"""What the formats of conversations need of media: videos opened, frames and cut-outs to be seen.

The rooms that read and write conversations decode nothing; they are given these functions. All of
them are blocking.
"""

import io
from dataclasses import replace
from pathlib import Path

from vlmchat.chat.formats.values import Limits, Videos, Views
from vlmchat.chat.messages import Clip, ImagePart, Media, VideoPart
from vlmchat.errors import MediaError, UsageError
from vlmchat.media.attaching import attach
from vlmchat.media.crop import cropped
from vlmchat.media.frames import frames_of
from vlmchat.media.images import decode
from vlmchat.media.rules import rules
from vlmchat.media.video.plan import Sampling
from vlmchat.text import visible_line

EDGE = 240  # longest edge of a frame of a storyboard, pixels
_QUALITY = 80


def import_limits() -> Limits:
    """Return what an import may cost, by the rules in force."""
    there = rules()
    most = there.video_limits.max_bytes
    usual = Limits(max_picture_bytes=there.limits.max_bytes)
    return usual if most is None else replace(usual, max_video_bytes=most)


def videos(scratch: Path) -> Videos:
    """Return how videos are read from files of conversations.

    Args:
        scratch: an empty folder that stays until they are stored.
    """
    return Videos(open_video, scratch, rules().video_limits.max_frames)


def open_video(path: Path, times: tuple[float, ...] | None) -> VideoPart:
    """Return the video at `path` with these frames, or with those that the rules choose.

    One frame at least is decoded, so that a damaged file is told at once.

    Raises:
        MediaError: it is no video, damaged or too large.
    """
    try:
        part = attach(path, sampling=None if times is None else Sampling(max_frames=1)).part
    except UsageError as error:
        raise MediaError(str(error)) from None
    if not isinstance(part, VideoPart):
        raise MediaError(f"“{visible_line(path.name)}” is a picture and no video.")
    if times is None:
        return part
    return VideoPart(part.media, Clip(times, part.clip.duration))


def storyboard(part: VideoPart) -> list[Media]:
    """Return the frames of `part`, in its order, as small JPEG pictures.

    Raises:
        MediaError: the file is gone or can no longer be decoded.
    """
    return [_small(frame) for frame in frames_of(part)]


def _small(frame: Media) -> Media:
    image = decode(frame.data, frame.name)
    image.thumbnail((EDGE, EDGE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY)
    return Media.held(buffer.getvalue(), frame.name, "image/jpeg", *image.size)


def cut(part: ImagePart) -> Media:
    """Return the part of a picture that was meant as a picture of its own.

    Raises:
        MediaError: the picture cannot be read.
    """
    return part.media if part.region is None else cropped(part.media, part.region)


def views() -> Views:
    """Return what the readable formats show of media."""
    return Views(storyboard, cut)

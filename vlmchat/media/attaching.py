"""Files made attachments: pictures as they are, videos with the frames the model will get.

Everything here reads and decodes: call it from a worker thread.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from vlmchat.chat.messages import Attachment, Detail, ImagePart, Media, VideoPart
from vlmchat.errors import MediaError
from vlmchat.media.frames import attach_frames, video_path
from vlmchat.media.images import SUFFIXES, is_animated, media_from_bytes, read_bytes
from vlmchat.media.rules import rules
from vlmchat.media.video.plan import Sampling
from vlmchat.media.video.sampling import sample
from vlmchat.media.video.sniff import PICTURES, kind_of
from vlmchat.text import visible_line

# What a folder is searched for; what a file is, its first bytes say.
VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts", ".3gp"}
)
MEDIA_SUFFIXES = SUFFIXES | VIDEO_SUFFIXES
_HEAD = 1024
_MIME = {
    "mov": "video/mp4",
    "matroska": "video/x-matroska",
    "avi": "video/x-msvideo",
    "mpegts": "video/mp2t",
    "gif": "image/gif",
    "webp": "image/webp",
    "apng": "image/apng",
}
# Pictures in the container of MP4 (ISO/IEC 23008-12).
_STILLS = {b"avif", b"heic", b"heix", b"heim", b"heis", b"mif1", b"mif2"}
_SUFFIX_MIME = {".webm": "video/webm", ".mov": "video/quicktime"}


@dataclass(frozen=True, slots=True)
class Attached:
    """What became of a file.

    Attributes:
        part: goes into the question.
        notes: sentences the person should see (the video is cut off, and so on).
    """

    part: Attachment
    notes: tuple[str, ...] = ()


def attach(
    path: Path,
    detail: Detail = "auto",
    sampling: Sampling | None = None,
    check: Callable[[], None] | None = None,
) -> Attached:
    """Return the picture or video at `path` as an attachment.

    Args:
        path: a regular file.
        detail: how finely the model looks at a picture.
        sampling: which frames of a video are taken; the rules' if not given.
        check: called while a video is decoded; raises to cancel.

    Raises:
        MediaError: missing, damaged, too large, or neither a picture nor a video.
        UsageError: the sampling asks for what lies behind the end.
    """
    kind = video_kind(path)
    if not kind:
        try:
            return Attached(ImagePart(media_from_bytes(read_bytes(path), path.name), detail))
        except MediaError:
            # Whoever names a file like a video is told what is wrong with the video.
            if path.suffix.lower() not in VIDEO_SUFFIXES:
                raise
    sampled = sample(
        path,
        sampling or rules().sampling,
        limits=rules().video_limits,
        background=rules().background,
        check=check,
    )
    info = sampled.info
    media = _video(path, kind, info.width, info.height)
    return Attached(attach_frames(media, sampled.frames, info.duration), sampled.notes)


def sampled_anew(part: VideoPart, sampling: Sampling) -> Attached:
    """Return a video with other frames.

    Raises:
        MediaError: the file is gone or can no longer be decoded.
        UsageError: the sampling asks for what lies behind the end.
    """
    path, there = video_path(part.media), rules()
    sampled = sample(path, sampling, limits=there.video_limits, background=there.background)
    new = attach_frames(part.media, sampled.frames, sampled.info.duration)
    return Attached(new, sampled.notes)


def within(sampling: Sampling, frames: int | None) -> Sampling:
    """Return `sampling` with no more frames than that; ``None`` changes nothing."""
    if frames is None or frames >= sampling.max_frames:
        return sampling
    return replace(sampling, max_frames=max(1, frames))


def video_kind(path: Path) -> str:
    """Return what kind of video or animated picture a file is; empty for all else.

    Raises:
        MediaError: the file cannot be read.
    """
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        name = visible_line(str(path))
        raise MediaError(f"“{name}” cannot be read ({error.strerror or error}).") from error
    kind = "" if head[4:8] == b"ftyp" and head[8:12] in _STILLS else kind_of(head) or ""
    if kind in PICTURES and not is_animated(read_bytes(path), path.name):
        return ""
    return kind


def _video(path: Path, kind: str, width: int, height: int) -> Media:
    mime = _SUFFIX_MIME.get(path.suffix.lower(), _MIME.get(kind, "video/mp4"))
    path = path.absolute()
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Media(digest, path.name, mime, width, height, path.stat().st_size, path.read_bytes, path)

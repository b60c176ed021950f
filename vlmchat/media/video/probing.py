"""What a video file holds, from its header: nothing is decoded, nothing is written."""

import dataclasses
from pathlib import Path

from vlmchat.media.video.film import Film
from vlmchat.media.video.flipbook import describe_picture
from vlmchat.media.video.info import VideoInfo
from vlmchat.media.video.limits import DEFAULT_LIMITS, VideoLimits
from vlmchat.media.video.opening import (
    accept,
    clear_errors,
    describe,
    film_stream,
    hidden_transfer,
    opened,
)
from vlmchat.media.video.sniff import PICTURES, sniff
from vlmchat.media.video.source import Check, Source, Watch


def probe(
    path: Path,
    limits: VideoLimits = DEFAULT_LIMITS,
    *,
    scan: bool = False,
    check: Check | None = None,
) -> VideoInfo:
    """Return what the video at `path` is.

    Args:
        path: the file.
        limits: what is refused.
        scan: read through a file that does not say how long it is, to find out.
        check: called between reads; raises to cancel.

    Raises:
        MediaError: no video, damaged, too large, too long, not readable.
    """
    watch = Watch(limits, check)
    with clear_errors(path.name, watch), Source(path, limits, watch) as source:
        kind = sniff(source)
        if kind in PICTURES:
            info, _ = describe_picture(source, kind, limits)
            accept(info, source, limits)
            return info
        info, sure = _glance(source, kind, limits)
        if not sure or (scan and info.duration is None):
            info = _look(source, kind, limits, scan)
        accept(info, source, limits)
        return info


def _glance(source: Source, kind: str, limits: VideoLimits) -> tuple[VideoInfo, bool]:
    """Return what the header says, and whether that is all there is to know."""
    # Transport streams have no header: only frames tell.
    if kind == "mpegts":
        return _look(source, kind, limits, scan=False), True
    with opened(source, kind, limits, haste=True) as container:
        stream = film_stream(container, source)
        info = describe(container, stream, source, kind)
        known = info.width > 0 and info.height > 0 and info.pixel_format is not None
        return info, known and not hidden_transfer(stream, info)


def _look(source: Source, kind: str, limits: VideoLimits, scan: bool) -> VideoInfo:
    with opened(source, kind, limits) as container:
        if not scan:
            return describe(container, film_stream(container, source), source, kind)
        film = Film(container, source, kind, limits)
        if film.info.duration is None:
            return dataclasses.replace(film.info, duration=film.reach())
        return film.info

"""A part of a picture as a picture of its own."""

import io
import threading
from typing import TypeAlias

from vlmchat.chat.messages import Media, Region
from vlmchat.media.images import decode
from vlmchat.media.rules import Background, rules

_Key: TypeAlias = tuple[str, str, Region | None, Background]
_recent: dict[_Key, Media] = {}
_MOST_HELD = 64_000_000  # bytes
_lock = threading.Lock()


def cropped(media: Media, region: Region) -> Media:
    """Return the part of `media` in `region` as a PNG; blocking.

    Its pixels are those that `decode` gives for the whole picture. The last few are remembered,
    because a conversation sends its pictures again with every question.

    Raises:
        MediaError: the picture cannot be read.
        UsageError: the region reaches beyond it.
    """
    return _made(media, region)


def plain(media: Media) -> Media:
    """Return all of `media` as a PNG with 8-bit RGB pixels, as `decode` gives them; blocking.

    Raises:
        MediaError: the picture cannot be read.
    """
    return _made(media, None)


def _made(media: Media, region: Region | None) -> Media:
    background = rules().background
    key = (media.sha256, media.name, region, background)
    with _lock:
        found = _recent.pop(key, None)
        if found is not None:
            _recent[key] = found  # the newest again
            return found
    image = decode(media.data, media.name, background=background)
    if region is not None:
        region.check(*image.size)
        image = image.crop(region.edges)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    found = Media.held(buffer.getvalue(), media.name, "image/png", image.width, image.height)
    with _lock:
        _recent[key] = found
        while len(_recent) > 1 and sum(item.size for item in _recent.values()) > _MOST_HELD:
            del _recent[next(iter(_recent))]
    return found

"""When the frames of animated pictures are shown: GIF, WebP and PNG, read without decoding.

Pauses are those that browsers make: a GIF frame of 10 ms or less is shown for 100 ms, as its
authors' programs never could show it faster (WebP's and PNG's are taken the same way).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from vlmchat.errors import MediaError
from vlmchat.media.video.source import Source

_AT_LEAST, _INSTEAD = 0.011, 0.1  # seconds
_GIF_CHUNK = 256 * 1024


@dataclass(frozen=True, slots=True)
class Animation:
    """What an animated picture holds.

    Attributes:
        width: pixels.
        height: pixels.
        pauses: how long each frame is shown, seconds.
        whole: whether the file goes on to its end mark.
        first: how many pictures before the first frame a reader passes over (PNG's still one).
        depth: bits a colour component.
        most: pixels of the largest frame with all that lies beyond the edges, as GIF allows.
    """

    width: int
    height: int
    pauses: tuple[float, ...]
    whole: bool = True
    first: int = 0
    depth: int = 8
    most: int = 0


def scanned(source: Source, kind: str) -> Animation:
    """Return what an animated picture holds.

    Args:
        source: the file.
        kind: ``gif``, ``webp`` or ``apng``.

    Raises:
        MediaError: a still picture, or damaged.
    """
    try:
        found = {"gif": _gif, "webp": _webp, "apng": _apng}[kind](source)
    except (struct.error, IndexError):
        found = None
    if found is None or found.width <= 0 or found.height <= 0:
        raise MediaError(f"“{source.label}” is damaged and cannot be opened.")
    if len(found.pauses) == 0 and kind != "gif":
        raise MediaError(
            f"“{source.label}” is a still picture and no video: attach it as a picture."
        )
    if not found.pauses:
        raise MediaError(f"“{source.label}” holds no frames: choose another file.")
    return found


def _pause(seconds: float) -> float:
    return seconds if seconds >= _AT_LEAST else _INSTEAD


class _Bytes:
    """A file read forward byte by byte, in large pieces."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._data = b""
        self._base = 0
        self.at = 0

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes; IndexError behind the end."""
        start = self.at - self._base
        if start < 0 or start + size > len(self._data):
            self._source.watch()
            self._data = self._source.peek(self.at, max(size, _GIF_CHUNK))
            self._base, start = self.at, 0
            if size > len(self._data):
                raise IndexError
        self.at += size
        return self._data[start : start + size]

    def skip_blocks(self) -> None:
        """Go past a GIF's data sub-blocks."""
        while size := self.take(1)[0]:
            self.at += size


def _gif(source: Source) -> Animation:
    data = _Bytes(source)
    _, width, height, flags = struct.unpack("<6sHHB2x", data.take(13))
    pauses: list[float] = []
    most = 0
    try:
        data.at += 3 << ((flags & 7) + 1) if flags & 0x80 else 0
        delay = 0.0
        while (mark := data.take(1)) != b"\x3b":
            if mark == b"\x21":
                if data.take(1) == b"\xf9":
                    delay = struct.unpack("<2xHx", data.take(5))[0] / 100
                data.skip_blocks()
            elif mark == b"\x2c":
                left, top, across, down, flags = struct.unpack("<4HB", data.take(9))
                most = max(most, max(width, left + across) * max(height, top + down))
                data.at += 3 << ((flags & 7) + 1) if flags & 0x80 else 0
                data.at += 1
                # Counted as soon as it has begun: the part of it that is there can be shown.
                pauses.append(_pause(delay))
                delay = 0.0
                data.skip_blocks()
            elif mark != b"\x00":
                break
        whole = True
    except IndexError:
        whole = False
    return Animation(width, height, tuple(pauses), whole, most=most)


def _chunks(
    source: Source, at: int, form: str, kind_first: bool
) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and size of a RIFF's or PNG's chunks."""
    while at + 8 <= source.size:
        source.watch()
        first, second = struct.unpack(form, source.peek(at, 8))
        kind, size = (first, second) if kind_first else (second, first)
        yield kind, at + 8, size
        at += 8 + size + (size & 1 if kind_first else 4)


def _webp(source: Source) -> Animation | None:
    width = height = 0
    pauses: list[float] = []
    end = 0
    for kind, start, size in _chunks(source, 12, "<4sI", kind_first=True):
        body = source.peek(start, 16)
        if kind == b"VP8X":
            width = 1 + int.from_bytes(body[4:7], "little")
            height = 1 + int.from_bytes(body[7:10], "little")
        elif kind == b"ANMF" and len(body) == 16:
            pauses.append(_pause(int.from_bytes(body[12:15], "little") / 1000))
        elif kind in (b"VP8 ", b"VP8L") and not width:
            return Animation(1, 1, ())
        end = start + size
    return Animation(width, height, tuple(pauses), end <= source.size)


def _apng(source: Source) -> Animation | None:
    width = height = depth = 0
    pauses: list[float] = []
    still = whole = data = False
    for kind, start, _ in _chunks(source, 8, ">I4s", kind_first=False):
        if kind == b"IHDR":
            width, height, depth = struct.unpack(">IIB", source.peek(start, 9))
        elif kind == b"fcTL":
            body = source.peek(start, 26)
            if len(body) < 26:
                break
            top, bottom = struct.unpack(">20xHH2x", body)
            pauses.append(_pause(top / (bottom or 100)))
        elif kind == b"IDAT" and not data:
            data, still = True, not pauses
        elif kind == b"IEND":
            whole = True
            break
    return Animation(width, height, tuple(pauses), whole, first=int(still), depth=depth)

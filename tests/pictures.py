"""Pictures for tests, drawn on the spot."""

import io
import struct
import zlib
from pathlib import Path

from PIL import Image, ImageDraw


def draw(width: int = 64, height: int = 48, colour: str = "red") -> Image.Image:
    """Return a picture of an ellipse on white with a gradient along the lower edge."""
    image = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(image)
    pen.ellipse((width // 8, height // 8, width * 7 // 8, height * 7 // 8), fill=colour)
    for x in range(width):
        pen.point((x, height - 1), (x * 255 // width, 90, 200))
    return image


def encoded(kind: str = "PNG", width: int = 64, height: int = 48, colour: str = "red") -> bytes:
    """Return `draw` as the bytes of a file."""
    buffer = io.BytesIO()
    draw(width, height, colour).save(buffer, kind)
    return buffer.getvalue()


def saved(path: Path, width: int = 64, height: int = 48, colour: str = "red") -> Path:
    """Write `draw` to `path` and return it."""
    draw(width, height, colour).save(path)
    return path


def promised_png(width: int, height: int) -> bytes:
    """Return a PNG whose header promises `width` × `height`, with next to no data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")

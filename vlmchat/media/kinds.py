"""What a file is by its first bytes, where that decides how it is opened or refused."""

import struct
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["heic", "svg", "pdf", ""]

_HEIC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_PNG = b"\x89PNG\r\n\x1a\n"


def kind_of(data: bytes, name: str = "") -> Kind:
    """Return what `data` is, as far as it is nothing that Pillow opens by itself.

    Args:
        data: the file's first bytes, at least the first thousand.
        name: tells compressed SVG, which looks like any gzip.
    """
    if _brands(data) & _HEIC:
        return "heic"
    head = data[:1024].lstrip(b"\xef\xbb\xbf\0 \t\r\n")
    if head.startswith(b"%PDF-"):
        return "pdf"
    start = head.lower()
    if start.startswith(b"<") and b"<svg" in start:
        return "svg"
    if start.startswith(b"<?xml") and name.lower().endswith(".svg"):
        return "svg"
    return "svg" if data.startswith(b"\x1f\x8b") and name.lower().endswith(".svgz") else ""


def _brands(data: bytes) -> set[bytes]:
    """Return what an ISO media file says it is compatible with (ISO/IEC 14496-12, 4.3)."""
    if data[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(data[:4], "big"), 256, len(data))
    return {data[8:12], *(data[at : at + 4] for at in range(16, end - 3, 4))}


def largest_icon(data: bytes) -> int:
    """Return the pixels of the largest picture within an ICO file, as their own headers say.

    The directory of such a file cannot name more than 256 × 256, what lies in it can.
    """
    largest = 0
    for at in range(6, 6 + 16 * min(int.from_bytes(data[4:6], "little"), 4096), 16):
        if at + 16 > len(data):
            break
        start = int.from_bytes(data[at + 12 : at + 16], "little")
        inner = data[start : start + 24]
        if len(inner) < 24:
            continue
        if inner.startswith(_PNG):
            width, height = struct.unpack(">II", inner[16:24])
        else:
            width, height = struct.unpack("<ii", inner[4:12])
        largest = max(largest, abs(width * height))
    return largest

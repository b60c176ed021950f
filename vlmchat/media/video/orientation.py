"""Which way up frames are stored: display matrices, and where containers keep them.

A display matrix is nine numbers, ``a b u c d v x y w`` in rows (ISO/IEC 14496-12, 8.3.2); only the
four that turn and mirror matter. The decoder hands the matrix over with every frame. For probing,
which decodes nothing, it is read from the container.
"""

import struct
from collections.abc import Iterator, Sequence

from PIL import Image

from vlmchat.media.video.source import Source

_MAX_BOXES = 4096
_MAX_HEADER = 64 * 1024
# Matroska's ProjectionPoseRoll with a size of four or eight bytes: its roll in degrees.
_ROLLS = ((b"\x76\x75\x84", ">f"), (b"\x76\x75\x88", ">d"))

Matrix = tuple[int, int, int, int]
UPRIGHT: Matrix = (1, 0, 0, 1)
# (x, y) of a stored pixel goes to (a·x + c·y, b·x + d·y), with y pointing down.
_TURNS: dict[Matrix, Image.Transpose] = {
    (-1, 0, 0, 1): Image.Transpose.FLIP_LEFT_RIGHT,
    (-1, 0, 0, -1): Image.Transpose.ROTATE_180,
    (1, 0, 0, -1): Image.Transpose.FLIP_TOP_BOTTOM,
    (0, 1, 1, 0): Image.Transpose.TRANSPOSE,
    (0, 1, -1, 0): Image.Transpose.ROTATE_270,
    (0, -1, -1, 0): Image.Transpose.TRANSVERSE,
    (0, -1, 1, 0): Image.Transpose.ROTATE_90,
}
_ANGLES = {(1, 0): 0, (0, -1): 90, (-1, 0): 180, (0, 1): -90}


def simplified(numbers: Sequence[float]) -> Matrix:
    """Return the turn nearest to a display matrix, in quarter turns and mirrors.

    Args:
        numbers: nine of them; what makes no sense counts as upright.
    """
    if len(numbers) < 9:
        return UPRIGHT
    a, b, c, d = numbers[0], numbers[1], numbers[3], numbers[4]
    if a * d - b * c == 0:
        return UPRIGHT
    if abs(a) >= abs(b):
        return (1 if a > 0 else -1, 0, 0, 1 if d > 0 else -1)
    return (0, 1 if b > 0 else -1, 1 if c > 0 else -1, 0)


def turn(matrix: Matrix) -> Image.Transpose | None:
    """Return what brings a stored frame upright; ``None`` if it is."""
    return _TURNS.get(matrix)


def degrees(matrix: Matrix) -> int:
    """Return the turn counter-clockwise in degrees: 0, 90, 180 or -90; mirrors are not told."""
    return _ANGLES.get((matrix[0], matrix[1]), 0)


def sideways(matrix: Matrix) -> bool:
    """Return whether width and height change places."""
    return matrix[0] == 0


def stored_matrix(source: Source, container: str, track: int) -> Matrix:
    """Return the turn that the container holds for a track, without decoding.

    Args:
        source: the file; where it stands does not change.
        container: ``mov`` or ``matroska``; others hold none.
        track: the track's number, of a ``mov``.
    """
    if container == "mov":
        return _mov_matrix(source, track)
    if container == "matroska":
        return _matroska_matrix(source)
    return UPRIGHT


def has_index(source: Source) -> bool:
    """Return whether an ISO base media file has its index (``moov``), without which none opens."""
    return any(kind == b"moov" for kind, _, _ in _boxes(source, 0, source.size))


def _boxes(source: Source, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and end of what each box of a file holds between two offsets."""
    for _ in range(_MAX_BOXES):
        head = source.peek(start, 16)
        if start + 8 > end or len(head) < 8:
            return
        size, kind = struct.unpack(">I4s", head[:8])
        body = start + 8
        if size == 1 and len(head) == 16:
            size, body = struct.unpack(">Q", head[8:])[0], start + 16
        stop = end if size == 0 else start + size
        if stop < body:
            return
        yield kind, body, min(stop, end)
        start = stop


def _inside(source: Source, start: int, end: int, kind: bytes) -> Iterator[tuple[int, int]]:
    return ((a, b) for name, a, b in _boxes(source, start, end) if name == kind)


def _mov_matrix(source: Source, track: int) -> Matrix:
    for moov in _inside(source, 0, source.size, b"moov"):
        for trak in _inside(source, *moov, b"trak"):
            for start, _ in _inside(source, *trak, b"tkhd"):
                head = source.peek(start, 96)
                wide = head[:1] == b"\1"  # version 1 has 64-bit times
                place, matrix = (20, 52) if wide else (12, 40)
                if len(head) < matrix + 36:
                    continue
                if struct.unpack_from(">I", head, place)[0] == track:
                    return simplified(struct.unpack_from(">9i", head, matrix))
    return UPRIGHT


def _matroska_matrix(source: Source) -> Matrix:
    head = source.peek(0, _MAX_HEADER)
    for magic, form in _ROLLS:
        at = head.find(magic)
        if at >= 0 and len(head) >= at + 3 + struct.calcsize(form):
            roll = struct.unpack_from(form, head, at + 3)[0]
            quarter = round(roll / 90) % 4 if abs(roll) <= 360 else 0
            return ((1, 0, 0, 1), (0, -1, 1, 0), (-1, 0, 0, -1), (0, 1, -1, 0))[quarter]
    return UPRIGHT

"""A picture two rows high, as coloured half blocks: enough to recognise a conversation by."""

from typing import TYPE_CHECKING

from textual.color import Color
from textual.content import Content
from textual.style import Style

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image

COLUMNS, ROWS = 5, 2


def tiny_picture(data: bytes, sha256: str, ground: Color) -> list[Content]:
    """Return `ROWS` lines of `COLUMNS` half blocks; blocking.

    Args:
        data: the picture's file.
        sha256: its digest.
        ground: what shows through where it is transparent or leaves room.

    Raises:
        MediaError: it cannot be read.
    """
    from vlmchat.media.thumbnails import thumbnail

    return _lines(thumbnail(data, sha256, (COLUMNS * 8, ROWS * 16)), ground)


def tiny_video(path: "Path", sha256: str, ground: Color) -> list[Content]:
    """Return what `tiny_picture` returns, for a video; blocking.

    Raises:
        MediaError: it cannot be read.
    """
    from vlmchat.media.thumbnails import video_thumbnail

    return _lines(video_thumbnail(path, sha256, (COLUMNS * 8, ROWS * 16)), ground)


def _lines(image: "Image", ground: Color) -> list[Content]:
    from PIL import Image, ImageOps

    from vlmchat.media.thumbnails import over

    # A half block is as high as it is wide, and there are two in a row.
    whole = ImageOps.pad(
        over(image, ground.rgb), (COLUMNS, ROWS * 2), Image.Resampling.BOX, color=ground.rgb
    )
    data = whole.convert("RGB").tobytes()
    pixels = [data[at : at + 3] for at in range(0, len(data), 3)]
    lines = []
    for row in range(ROWS):
        upper = pixels[2 * row * COLUMNS : (2 * row + 1) * COLUMNS]
        lower = pixels[(2 * row + 1) * COLUMNS : (2 * row + 2) * COLUMNS]
        cells = [
            ("▀", Style(foreground=Color(*above), background=Color(*below)))
            for above, below in zip(upper, lower, strict=True)
        ]
        lines.append(Content.assemble(*cells))
    return lines

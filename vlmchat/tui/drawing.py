"""Turns decoded pictures into what a terminal shows.

Sizes are reckoned in the terminal's cells. `prepare` is for worker threads; everything that is
drawn is made of numbers taken from pixels, so no byte of a file ever reaches the terminal.
"""

import io
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from rich.segment import Segment
from rich.style import Style
from textual.app import App
from textual.strip import Strip

from vlmchat.tui.terminal import USUAL_CELL, PictureStyle

if TYPE_CHECKING:
    from PIL.Image import Image

_lock = threading.Lock()


def style_of(app: App[Any]) -> PictureStyle:
    """Return how `app` draws pictures."""
    style = getattr(app, "picture_style", None)
    return style if isinstance(style, PictureStyle) else PictureStyle()


def lines_only(style: PictureStyle) -> PictureStyle:
    """Return `style`, or blocks where it cannot draw in lines of text.

    A sixel picture cannot be drawn by halves or among other things in a grid.
    """
    if style.kind in ("sixel", "off"):
        return PictureStyle("blocks", style.rows, style.cell)
    return style


def per_cell(style: PictureStyle) -> tuple[int, int]:
    """Return how many of a picture's pixels one cell shows, across and down."""
    return style.cell if style.kind in ("kitty", "sixel") else (1, 2)


def fit(
    width: int, height: int, columns: int, rows: int, style: PictureStyle, *, grow: bool = False
) -> tuple[int, int]:
    """Return how many columns and rows a picture takes within a space, in its own proportions.

    Args:
        width: the picture's, pixels.
        height: the picture's, pixels.
        columns: the space's.
        rows: the space's.
        style: how it is drawn.
        grow: whether it may be shown larger than its own pixels.
    """
    cell_width, cell_height = style.cell
    width, height = max(1, width), max(1, height)
    factor = min(columns * cell_width / width, rows * cell_height / height)
    if not grow:
        across, down = per_cell(style)
        factor = min(factor, cell_width / across, cell_height / down)
    shown_columns = round(width * factor / cell_width)
    shown_rows = round(height * factor / cell_height)
    return max(1, min(columns, shown_columns)), max(1, min(rows, shown_rows))


def pixels(columns: int, rows: int, style: PictureStyle) -> tuple[int, int]:
    """Return how many pixels a space of cells shows."""
    across, down = per_cell(style)
    return columns * across, rows * down


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture ready to be shown.

    Attributes:
        columns: its width, cells.
        rows: its height, cells.
        strips: its lines; empty when it is shown as sixels.
        image: its pixels for sixels, else ``None``.
        handle: what the terminal holds of it, if anything.
    """

    columns: int
    rows: int
    strips: tuple[Strip, ...]
    image: "Image | None" = None
    handle: Any = None

    def release(self) -> None:
        """Let the terminal forget the picture."""
        if self.handle is not None:
            self.handle.cleanup()


def prepare(
    image: "Image", columns: int, rows: int, style: PictureStyle, ground: tuple[int, int, int]
) -> Drawn:
    """Return `image` drawn on `columns` × `rows` cells; slow, for a worker thread.

    Args:
        image: RGB or RGBA.
        columns: the width it takes.
        rows: the height it takes.
        style: how to draw.
        ground: the colour behind its transparent parts.
    """
    from PIL.Image import Resampling

    from vlmchat.media.thumbnails import over

    size = pixels(columns, rows, style)
    if image.mode == "RGBA":
        image = image.convert("RGBa").resize(size, Resampling.LANCZOS, reducing_gap=2.0)
        image = image.convert("RGBA")
    else:
        image = image.convert("RGB").resize(size, Resampling.LANCZOS, reducing_gap=2.0)
    image = over(image, ground)
    if style.kind == "kitty":
        return _kitty(image, columns, rows, style)
    if style.kind == "sixel":
        load_textual_image(style.cell)
        return Drawn(columns, rows, (), image)
    return Drawn(columns, rows, tuple(_blocks(image)))


def _blocks(image: "Image") -> Iterator[Strip]:
    """Yield lines of upper half blocks: the upper pixel in front, the lower one behind."""
    width, height = image.size
    data = image.tobytes()
    stride = width * 3
    for y in range(0, height, 2):
        upper = data[y * stride : (y + 1) * stride]
        lower = data[(y + 1) * stride : (y + 2) * stride]
        segments: list[Segment] = []
        run, pair = 0, (b"", b"")
        for x in range(0, stride, 3):
            here = upper[x : x + 3], lower[x : x + 3]
            if here == pair:
                run += 1
                continue
            if run:
                segments.append(Segment("▀" * run, _pair_style(*pair)))
            run, pair = 1, here
        segments.append(Segment("▀" * run, _pair_style(*pair)))
        yield Strip(segments, width)


@lru_cache(maxsize=8192)
def _pair_style(upper: bytes, lower: bytes) -> Style:
    return Style(color=f"#{upper.hex()}", bgcolor=f"#{lower.hex()}")


def _kitty(image: "Image", columns: int, rows: int, style: PictureStyle) -> Drawn:
    """Send the picture to the terminal; the lines are placeholders that it draws it over."""
    load_textual_image(style.cell)
    from rich.console import Console
    from textual_image.renderable.tgp import Image as KittyImage

    handle = KittyImage(image, columns, rows)
    console = Console(file=io.StringIO(), width=max(columns, 1), legacy_windows=False)
    segments = handle.__rich_console__(console, console.options)
    strips = [
        Strip([Segment(segment.text.rstrip("\n"), segment.style)], columns)
        for segment in segments
        if isinstance(segment, Segment)
    ]
    return Drawn(columns, rows, tuple(strips), handle=handle)


def load_textual_image(cell: tuple[int, int] = USUAL_CELL) -> None:
    """Import textual-image without its asking the terminal, whose keyboard is ours by now.

    It asks when it is imported, if the output is a terminal, and takes the size of a character
    from two environment variables if it is not.
    """
    with _lock:
        if "textual_image.widget" in sys.modules:
            return
        with _as_if_piped(cell):
            import textual_image.widget  # noqa: F401


@contextmanager
def _as_if_piped(cell: tuple[int, int]) -> Iterator[None]:
    names = ("TEXTUAL_CELL_WIDTH", "TEXTUAL_CELL_HEIGHT")
    before = {name: os.environ.get(name) for name in names}
    stdout = sys.__stdout__
    os.environ.update(zip(names, map(str, cell), strict=True))
    sys.__stdout__ = io.StringIO()  # type: ignore[misc,assignment]
    try:
        yield
    finally:
        sys.__stdout__ = stdout  # type: ignore[misc]
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

"""Frames of a video side by side, each above its time: what draws them line by line."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from vlmchat.chat.messages import Clip, VideoPart
from vlmchat.tui.decoding import or_sentence
from vlmchat.tui.drawing import Drawn, fit, lines_only, pixels, prepare, style_of
from vlmchat.tui.widgets.shelf import Shelf

if TYPE_CHECKING:
    from PIL.Image import Image

GAP = 1
# A very wide video must not take the whole line, a very tall one needs room for its times.
_WIDEST = 24
_FADED = 0.75
# Which video, which moment, how many rows, and whether it is left out.
_Key: TypeAlias = tuple[str, float, int, bool]


@dataclass(frozen=True, slots=True)
class Look:
    """How one frame stands there.

    Attributes:
        label: below it.
        style: of the label.
        faded: it is left out.
    """

    label: str
    style: Style
    faded: bool = False


class FrameCells:
    """Makes the pictures of frames in a worker and lays them out in cells of equal width.

    Args:
        widget: which draws them; refreshed when a picture is there.
        rows: of a picture, without the label.
    """

    def __init__(self, widget: Widget, rows: int) -> None:
        self._widget = widget
        self._rows = rows
        self._shelf: Shelf[_Key] = Shelf(widget, self._draw)
        self._part: VideoPart | None = None
        self._label = 4

    def show(self, part: VideoPart, rows: int, longest: int) -> None:
        """Show the frames of this video from now on.

        Args:
            part: it; what is drawn of it already is kept.
            rows: of a picture.
            longest: cells of the longest label.
        """
        if self._part is None or self._part.media.sha256 != part.media.sha256:
            self._shelf.clear()
        self._part, self._rows, self._label = part, rows, longest

    def clear(self) -> None:
        """Forget what was drawn."""
        self._shelf.clear()
        self._widget.refresh()

    def forget_wishes(self) -> None:
        """Drop what is out of view before it was drawn."""
        self._shelf.forget_wishes()

    @property
    def rows(self) -> int:
        """Lines of a picture; none where pictures are switched off."""
        return 0 if style_of(self._widget.app).kind == "off" else self._rows

    @property
    def height(self) -> int:
        """Lines of a cell: the picture and its label."""
        return self.rows + 1

    @property
    def width(self) -> int:
        """Columns of a cell, without the gap behind it."""
        return max(self._extent()[0], self._label)

    def across(self, columns: int) -> int:
        """Return how many cells stand side by side in so many columns; at least one."""
        return max(1, (columns + GAP) // (self.width + GAP))

    def _extent(self) -> tuple[int, int]:
        if self._part is None or not self.rows:
            return 1, 0
        media, style = self._part.media, lines_only(style_of(self._widget.app))
        return fit(media.width, media.height, _WIDEST, self.rows, style)

    def line(self, time: float, line: int, look: Look) -> Strip:
        """Return one line of a cell, with the gap behind it."""
        width, ground = self.width, self._widget.rich_style
        gap = Strip([Segment(" " * GAP, ground)], GAP)
        if line >= self.rows:
            # A label is as wide as its cell, so that a cursor can be seen on it.
            label = set_cell_size(look.label, width) if cell_len(look.label) else " " * width
            return Strip.join([Strip([Segment(label, look.style)], width), gap])
        return Strip.join([self._picture_line(time, line, look.faded), gap])

    def _picture_line(self, time: float, line: int, faded: bool) -> Strip:
        width, ground = self.width, self._widget.rich_style
        assert self._part is not None
        drawn = self._shelf.get((self._part.media.sha256, time, self.rows, faded))
        if drawn is None or isinstance(drawn, str):
            word = "" if line != self.rows // 2 else "…" if drawn is None else "unreadable"
            return Strip([Segment(set_cell_size(word.center(width), width), ground)], width)
        # Pictures stand on their labels.
        row = line - (self.rows - drawn.rows)
        if row < 0:
            return Strip.blank(width, ground)
        return drawn.strips[row].adjust_cell_length(width, ground)

    async def _draw(self, key: _Key) -> Drawn | str:
        from vlmchat.media.storyboard import frame_thumbnail

        sha256, time, rows, faded = key
        part = self._part
        if part is None or part.media.sha256 != sha256:
            return ""
        if time not in part.clip.times:
            part = VideoPart(part.media, Clip((time,)))
        style = lines_only(style_of(self._widget.app))
        columns, rows = fit(part.media.width, part.media.height, _WIDEST, rows, style)
        ground = self._widget.background_colors[1].rgb
        wanted = part

        def work() -> Drawn:
            image = frame_thumbnail(wanted, time, pixels(columns, rows, style))
            if faded:
                image = _faded(image, ground)
            return prepare(image, columns, rows, style, ground)

        return await or_sentence(work)


def _faded(image: "Image", ground: tuple[int, int, int]) -> "Image":
    from PIL import Image

    plain = image.convert("RGB")
    return Image.blend(plain, Image.new("RGB", plain.size, ground), _FADED)

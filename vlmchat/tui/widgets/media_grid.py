"""A grid of thumbnails that only draws, and only decodes, what is in view."""

import time
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from vlmchat.store.records import MediaUse, Shown
from vlmchat.text import visible_line
from vlmchat.tui.drawing import Drawn
from vlmchat.tui.widgets.shelf import Shelf

Grouping: TypeAlias = Literal["conversation", "date"]

CELL_WIDTH = 20
PICTURE_ROWS = 6
# The picture, its name, and a line of air.
_CELL_ROWS = PICTURE_ROWS + 2
_GAP = 2


@dataclass(frozen=True, slots=True)
class _Row:
    """A line of the grid: a heading, or the numbers of the uses that stand side by side."""

    top: int
    heading: str = ""
    first: int = 0
    count: int = 0


class MediaGrid(ScrollView, can_focus=True):
    """Shows where media were used.

    Args:
        draw: returns the thumbnail of what was attached, or why there is none.
    """

    DEFAULT_CSS = """
    MediaGrid {
        height: 1fr;
        overflow-x: hidden;
        overflow-y: auto;
        scrollbar-size-vertical: 1;
        scrollbar-gutter: stable;
        background: $surface;
        & > .media-grid--heading {
            color: $primary;
            text-style: bold;
        }
        & > .media-grid--name {
            color: $foreground;
        }
        & > .media-grid--muted {
            color: $muted;
        }
        & > .media-grid--cursor {
            background: $block-cursor-background;
            color: $block-cursor-foreground;
        }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "media-grid--heading",
        "media-grid--name",
        "media-grid--muted",
        "media-grid--cursor",
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "move(-1)", "Left", show=False),
        Binding("right", "move(1)", "Right", show=False),
        Binding("up", "line(-1)", "Up", show=False),
        Binding("down", "line(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home", "end(-1)", "First", show=False),
        Binding("end", "end(1)", "Last", show=False),
    ]

    class Chosen(Message):
        """A medium was clicked twice."""

    class ReachedTop(Message):
        """The cursor wants to go above the first line."""

    def __init__(self, draw: Callable[[Shown], Awaitable[Drawn | str]]) -> None:
        super().__init__(id="gallery-grid")
        self.shelf: Shelf[Shown] = Shelf(self, draw)
        self.uses: tuple[MediaUse, ...] = ()
        self.cursor = 0
        self._titles: Mapping[int, str] = {}
        self._grouping: Grouping = "conversation"
        self._rows: list[_Row] = []
        self._tops: list[int] = []
        self._across = 1

    @property
    def current(self) -> MediaUse | None:
        """The use under the cursor."""
        return self.uses[self.cursor] if self.uses else None

    def show(self, uses: Sequence[MediaUse], titles: Mapping[int, str], grouping: Grouping) -> None:
        """Show these, newest first, in groups; the cursor stays with its medium."""
        before = self.current
        if grouping == "conversation":
            place: dict[int, int] = {}
            for use in uses:
                place.setdefault(use.thread, len(place))
            uses = sorted(uses, key=lambda use: place[use.thread])  # stable: newest first within
        self.uses = tuple(uses)
        self._titles, self._grouping = titles, grouping
        self.cursor = self.uses.index(before) if before in self.uses else 0
        self.shelf.forget_wishes()
        self._arrange()
        self._follow()

    def clear_pictures(self) -> None:
        """Draw all pictures anew."""
        self.shelf.clear()
        self.refresh()

    def on_unmount(self) -> None:
        """Let the terminal forget the pictures."""
        self.shelf.clear()

    def on_resize(self, _: events.Resize) -> None:
        """Fit as many side by side as there is room for."""
        self._arrange()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Drop what scrolled out of view before it was drawn."""
        self.shelf.forget_wishes()
        super().watch_scroll_y(old_value, new_value)

    # Where things are -------------------------------------------------------------------------

    def _arrange(self) -> None:
        width = self.scrollable_content_region.width
        self._across = max(1, (width + _GAP) // (CELL_WIDTH + _GAP))
        rows: list[_Row] = []
        top = first = 0
        while first < len(self.uses):
            heading = self._heading(self.uses[first])
            last = first
            while last < len(self.uses) and self._same_group(self.uses[first], self.uses[last]):
                last += 1
            rows.append(_Row(top, heading))
            top += 1
            for start in range(first, last, self._across):
                rows.append(_Row(top, "", start, min(self._across, last - start)))
                top += _CELL_ROWS
            first = last
        self._rows, self._tops = rows, [row.top for row in rows]
        self.virtual_size = Size(width, top)
        self.refresh()

    def _same_group(self, one: MediaUse, two: MediaUse) -> bool:
        if self._grouping == "conversation":
            return one.thread == two.thread
        return time.localtime(one.created)[:3] == time.localtime(two.created)[:3]

    def _heading(self, use: MediaUse) -> str:
        date = time.strftime("%d %B %Y", time.localtime(use.created)).lstrip("0")
        if self._grouping == "date":
            return date
        title = visible_line(self._titles.get(use.thread, "")) or "Untitled"
        return f"{title}  {date}"

    def _row_of(self, number: int) -> int:
        for index, row in enumerate(self._rows):
            if row.count and row.first <= number < row.first + row.count:
                return index
        return 0

    # Moving -----------------------------------------------------------------------------------

    def action_move(self, step: int) -> None:
        """Go to the next medium or the one before."""
        self._go(self.cursor + step)

    def action_line(self, step: int) -> None:
        """Go a line of pictures down or up."""
        if not self.uses:
            self.post_message(self.ReachedTop())
            return
        index = self._row_of(self.cursor)
        column = self.cursor - self._rows[index].first
        index += step
        while 0 <= index < len(self._rows) and not self._rows[index].count:
            index += step
        if index < 0:
            self.post_message(self.ReachedTop())
        elif index < len(self._rows):
            row = self._rows[index]
            self._go(row.first + min(column, row.count - 1))

    def action_page(self, step: int) -> None:
        """Go as many lines as are in view."""
        for _ in range(max(1, self.size.height // _CELL_ROWS)):
            before = self.cursor
            if step < 0 and self._row_of(self.cursor) <= 1:
                return
            self.action_line(step)
            if self.cursor == before:
                return

    def action_end(self, step: int) -> None:
        """Go to the first or the last."""
        self._go(0 if step < 0 else len(self.uses) - 1)

    def _go(self, number: int) -> None:
        if self.uses:
            self.cursor = max(0, min(len(self.uses) - 1, number))
            self._follow()
            self.refresh()

    def _follow(self) -> None:
        if not self._rows:
            return
        index = self._row_of(self.cursor)
        row = self._rows[index]
        # The heading above the first line of a group is worth seeing too.
        above = 1 if index and not self._rows[index - 1].count else 0
        region = Region(0, row.top - above, 1, _CELL_ROWS + above)
        self.scroll_to_region(region, animate=False, force=True)

    def on_click(self, event: events.Click) -> None:
        """Put the cursor where the click was; a second click chooses."""
        number = self._at(event.x, event.y + self.scroll_offset.y)
        if number is None:
            return
        self._go(number)
        if event.chain == 2:
            self.post_message(self.Chosen())

    def _at(self, x: int, y: int) -> int | None:
        index = bisect_right(self._tops, y) - 1
        if index < 0:
            return None
        row, column = self._rows[index], x // (CELL_WIDTH + _GAP)
        return row.first + column if column < row.count else None

    # Drawing ----------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """Return one line of what is in view."""
        width = self.scrollable_content_region.width
        ground = self.rich_style
        y += self.scroll_offset.y
        index = bisect_right(self._tops, y) - 1
        if index < 0 or y >= self.virtual_size.height:
            return Strip.blank(width, ground)
        row = self._rows[index]
        if row.heading:
            style = self.get_component_rich_style("media-grid--heading")
            return Strip([Segment(set_cell_size(row.heading, width), style)], width)
        line = y - row.top
        strips: list[Strip] = []
        for number in range(row.first, row.first + row.count):
            strips.append(self._cell_line(number, line, ground))
            strips.append(Strip([Segment(" " * _GAP, ground)], _GAP))
        return Strip.join(strips).adjust_cell_length(width, ground)

    def _cell_line(self, number: int, line: int, ground: Style) -> Strip:
        use = self.uses[number]
        if line == PICTURE_ROWS:
            at_cursor = number == self.cursor
            name = "cursor" if at_cursor and self.has_focus else "name"
            style = self.get_component_rich_style(f"media-grid--{name}")
            mark = "▸" if at_cursor else " "
            return Strip([Segment(_shortened(mark + visible_line(use.name)), style)], CELL_WIDTH)
        if line > PICTURE_ROWS:
            return Strip.blank(CELL_WIDTH, ground)
        drawn = self.shelf.get(use.shown)
        muted = self.get_component_rich_style("media-grid--muted")
        if drawn is None or isinstance(drawn, str):
            word = "" if line != PICTURE_ROWS // 2 else "…" if drawn is None else "not readable"
            return Strip([Segment(word.center(CELL_WIDTH), muted)], CELL_WIDTH)
        # Pictures stand on their names, in the middle.
        picture_line = line - (PICTURE_ROWS - drawn.rows)
        if picture_line < 0:
            return Strip.blank(CELL_WIDTH, ground)
        left = (CELL_WIDTH - drawn.columns) // 2
        right = CELL_WIDTH - drawn.columns - left
        edges = (Strip([Segment(" " * side, ground)], side) for side in (left, right))
        before, after = edges
        return Strip.join([before, drawn.strips[picture_line], after])


def _shortened(text: str) -> str:
    if cell_len(text) > CELL_WIDTH:
        text = set_cell_size(text, CELL_WIDTH - 1).rstrip() + "…"
    return set_cell_size(text, CELL_WIDTH)

"""A grid of a video's frames with a cursor; only what is in view is drawn and decoded."""

from typing import ClassVar

from rich.cells import cell_len
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from vlmchat.chat.messages import VideoPart
from vlmchat.media.storyboard import time_labels
from vlmchat.tui.widgets.frames import FrameCells, Look

_ROWS = 4
_AIR = 1


class FrameGrid(ScrollView, can_focus=True):
    """Shows frames with their times, and which of them are left out."""

    DEFAULT_CSS = """
    FrameGrid {
        height: 1fr;
        overflow-x: hidden;
        overflow-y: auto;
        scrollbar-size-vertical: 1;
        scrollbar-gutter: stable;
        background: $surface;
        & > .frame-grid--time {
            color: $foreground;
        }
        & > .frame-grid--dropped {
            color: $muted;
            text-style: strike;
        }
        & > .frame-grid--cursor {
            background: $block-cursor-background;
            color: $block-cursor-foreground;
        }
        & > .frame-grid--cursor-dropped {
            background: $block-cursor-background;
            color: $block-cursor-foreground;
            text-style: strike;
        }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "frame-grid--time",
        "frame-grid--dropped",
        "frame-grid--cursor",
        "frame-grid--cursor-dropped",
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "move(-1)", "Left", show=False),
        Binding("right", "move(1)", "Right", show=False),
        Binding("up", "line(-1)", "Up", show=False),
        Binding("down", "line(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home", "end(0)", "First", show=False),
        Binding("end", "end(-1)", "Last", show=False),
    ]

    class Clicked(Message):
        """A frame was clicked on; the cursor is on it."""

        def __init__(self, twice: bool) -> None:
            super().__init__()
            self.twice = twice

    def __init__(self, part: VideoPart) -> None:
        super().__init__(id="frames-grid")
        self._cells = FrameCells(self, _ROWS)
        self._labels: list[str] = []
        self.part = part
        self.dropped: frozenset[float] = frozenset()
        self.cursor = 0
        self.show(part)

    @property
    def current(self) -> float:
        """The time of the frame under the cursor, seconds."""
        return self.part.clip.times[self.cursor]

    def show(self, part: VideoPart, dropped: frozenset[float] = frozenset()) -> None:
        """Show these frames; the cursor stays at its time, or at the nearest."""
        before = self.current
        self.part, self.dropped = part, dropped
        times = part.clip.times
        self.cursor = min(range(len(times)), key=lambda number: abs(times[number] - before))
        self._labels = time_labels(times)
        # A mark stands before the time.
        self._cells.show(part, _ROWS, 2 + max(map(cell_len, self._labels)))
        self._cells.forget_wishes()
        if self.is_attached:
            self._arrange()

    def go_to(self, time: float) -> None:
        """Put the cursor on the frame nearest to `time`."""
        times = self.part.clip.times
        self._go(min(range(len(times)), key=lambda number: abs(times[number] - time)))

    def redraw(self) -> None:
        """Draw all frames anew."""
        self._cells.clear()

    def on_mount(self) -> None:
        """Lay out what there is."""
        self._arrange()

    def on_unmount(self) -> None:
        """Let the terminal forget the pictures."""
        self._cells.clear()

    def on_resize(self, _: events.Resize) -> None:
        """Fit as many side by side as there is room for."""
        self._arrange()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Drop what scrolled out of view before it was drawn."""
        self._cells.forget_wishes()
        super().watch_scroll_y(old_value, new_value)

    @property
    def _across(self) -> int:
        return self._cells.across(self.scrollable_content_region.width)

    @property
    def _cell_height(self) -> int:
        return self._cells.height + (_AIR if self._cells.rows else 0)

    def _arrange(self) -> None:
        lines = -(-len(self._labels) // self._across)
        width = self.scrollable_content_region.width
        self.virtual_size = Size(width, lines * self._cell_height)
        self._follow()
        self.refresh()

    # Moving -----------------------------------------------------------------------------------

    def action_move(self, step: int) -> None:
        """Go to the next frame or the one before."""
        self._go(self.cursor + step)

    def action_line(self, step: int) -> None:
        """Go a line down or up."""
        number = self.cursor + step * self._across
        last = len(self._labels) - 1
        # From above a short last line to its end.
        if step > 0 and number > last and self.cursor // self._across < last // self._across:
            number = last
        if 0 <= number <= last:
            self._go(number)

    def action_page(self, step: int) -> None:
        """Go as many lines as are in view."""
        for _ in range(max(1, self.size.height // self._cell_height)):
            self.action_line(step)

    def action_end(self, number: int) -> None:
        """Go to the first or the last."""
        self._go(number % len(self._labels))

    def _go(self, number: int) -> None:
        self.cursor = max(0, min(len(self._labels) - 1, number))
        self._follow()
        self.refresh()

    def _follow(self) -> None:
        top = self.cursor // self._across * self._cell_height
        region = Region(0, top, 1, self._cell_height)
        self.scroll_to_region(region, animate=False, force=True)

    def on_click(self, event: events.Click) -> None:
        """Put the cursor on the frame."""
        column = event.x // (self._cells.width + 1)
        number = (event.y + self.scroll_offset.y) // self._cell_height * self._across + column
        if column < self._across and number < len(self._labels):
            self._go(number)
            self.post_message(self.Clicked(event.chain == 2))

    # Drawing ----------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """Return one line of what is in view."""
        width, ground = self.scrollable_content_region.width, self.rich_style
        row, line = divmod(y + self.scroll_offset.y, self._cell_height)
        first = row * self._across
        if first >= len(self._labels) or line >= self._cells.height:
            return Strip.blank(width, ground)
        numbers = range(first, min(first + self._across, len(self._labels)))
        strips = [self._cell(number, line) for number in numbers]
        return Strip.join(strips).adjust_cell_length(width, ground)

    def _cell(self, number: int, line: int) -> Strip:
        time = self.part.clip.times[number]
        dropped = time in self.dropped
        here = number == self.cursor
        if here and self.has_focus:
            name = "cursor-dropped" if dropped else "cursor"
        else:
            name = "dropped" if dropped else "time"
        mark = "×" if dropped else "▸" if here else " "
        style = self.get_component_rich_style(f"frame-grid--{name}")
        return self._cells.line(time, line, Look(f"{mark} {self._labels[number]}", style, dropped))

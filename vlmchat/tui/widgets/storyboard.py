"""The frames of a video: above the composer before it is sent, in the conversation afterwards."""

from collections.abc import Callable
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip
from textual.theme import Theme
from textual.widget import Widget

from vlmchat.chat.messages import VideoPart
from vlmchat.media.storyboard import time_labels
from vlmchat.media.video.plan import clock, thinned
from vlmchat.text import visible_line
from vlmchat.tui.media_actions import open_or_tell, view_large
from vlmchat.tui.widgets.frames import FrameCells as Cells
from vlmchat.tui.widgets.frames import Look

_ROWS = 3
# How high a window must be for larger pictures beside the composer.
_TALL, _TALL_ROWS = 40, 5
_TAIL = 15
# A conversation shows a video by at most so many frames.
MOST = 16


class _Frames(Widget, can_focus=True):
    """What both kinds have in common."""

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "frames--time",
        "frames--about",
        "frames--focus",
    }

    def __init__(self, *, id: str | None = None, classes: str = "") -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self._cells = Cells(self, _ROWS)

    def on_mount(self) -> None:
        """Follow the theme: frames are drawn over its colours."""
        self.app.theme_changed_signal.subscribe(self, self._theme_changed)

    def _theme_changed(self, _: Theme) -> None:
        self._cells.clear()

    def on_unmount(self) -> None:
        """Let the terminal forget the pictures."""
        self._cells.clear()


class Storyboard(_Frames):
    """One row of the frames that the model will get; hidden while no video is attached."""

    DEFAULT_CSS = """
    Storyboard {
        width: 100%;
        height: auto;
        & > .frames--time {
            color: $secondary;
        }
        & > .frames--about {
            color: $muted;
        }
        & > .frames--focus {
            color: $primary;
            text-style: bold;
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "Choose frames"),
        Binding("escape", "screen.compose_on", "Write", show=False),
    ]

    class Chosen(Message):
        """The person wants to choose frames."""

        def __init__(self, part: VideoPart) -> None:
            super().__init__()
            self.part = part

    def __init__(self) -> None:
        super().__init__(id="storyboard")
        self.display = False
        self.part: VideoPart | None = None
        self._about: Callable[[int], tuple[str, ...]] = lambda _: ()
        self._labels: list[str] = []
        self.tooltip = Content("Enter or a click chooses the frames")

    def show(self, part: VideoPart | None, about: Callable[[int], tuple[str, ...]]) -> None:
        """Show the frames of a video.

        Args:
            part: it; ``None`` for none.
            about: returns the lines that stand behind so many frames.
        """
        self.display = part is not None
        if part is None:
            self.part = None
            return
        changed = part != self.part
        self.part, self._about = part, about
        if changed:
            self._labels = time_labels(part.clip.times)
            self._fit()
        self.refresh(layout=changed)

    def _fit(self) -> None:
        if self.part is not None:
            rows = _TALL_ROWS if self.app.size.height >= _TALL else _ROWS
            self._cells.show(self.part, rows, max(map(cell_len, self._labels)))

    def on_resize(self) -> None:
        """Show larger pictures where there is room for them."""
        self._fit()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Return the lines of pictures and times."""
        return self._cells.height if self.part is not None else 0

    def render_line(self, y: int) -> Strip:
        """Return one line."""
        width, ground = self.size.width, self.rich_style
        if self.part is None or width < 1:
            return Strip.blank(width, ground)
        times = self.part.clip.times
        fit = min(len(times), self._cells.across(max(1, width - _TAIL)))
        style = self.get_component_rich_style("frames--focus" if self.has_focus else "frames--time")
        strips = [
            self._cells.line(time, y, Look(label, style))
            for time, label in zip(times[:fit], self._labels[:fit], strict=True)
        ]
        strips.append(self._tail_line(y, len(times) - fit))
        return Strip.join(strips).adjust_cell_length(width, ground)

    def _tail_line(self, y: int, more: int) -> Strip:
        assert self.part is not None
        lines = [f"+{more}" if more else "", *self._about(len(self.part.clip.times))]
        if self._cells.height == 1:  # pictures are switched off: there is one line only
            lines = [" · ".join(line for line in lines if line)]
        # The lines stand at the bottom, beside the times.
        place = y - (self._cells.height - len(lines))
        text = lines[place] if 0 <= place < len(lines) else ""
        style = self.get_component_rich_style("frames--about")
        return Strip([Segment(f" {text}", style)])

    def action_choose(self) -> None:
        """Have the frames chosen."""
        if self.part is not None:
            self.post_message(self.Chosen(self.part))

    def on_click(self) -> None:
        """Have the frames chosen."""
        self.action_choose()


class VideoStrip(_Frames):
    """A video in the conversation: some of its frames, with their times.

    Args:
        part: the video, with the frames that the model got.
    """

    DEFAULT_CSS = """
    VideoStrip {
        width: 100%;
        height: auto;
        margin: 0 2 0 0;
        & > .frames--time {
            color: $muted;
        }
        & > .frames--about {
            color: $secondary;
        }
        & > .frames--focus {
            background: $primary;
            color: $block-cursor-foreground;
        }
        &:hover > .frames--about {
            text-style: underline;
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "view", "View"),
        Binding("o", "open", "Open outside"),
    ]

    def __init__(self, part: VideoPart) -> None:
        super().__init__(classes="turn-picture")
        self.part = part
        self._times: list[float] = []
        self._labels: list[str] = []
        self._choose(MOST)
        self.tooltip = Content("Enter or a click shows the frames large, o opens the video outside")

    @property
    def label(self) -> str:
        """What stands below the frames."""
        return _label(self.part, len(self._times))

    def _choose(self, most: int) -> None:
        """Show so many frames, evenly taken."""
        times = thinned(self.part.clip.times, most)
        if times != self._times:
            self._times, self._labels = times, time_labels(times)
            self._cells.show(self.part, _ROWS, max(map(cell_len, self._labels)))

    def get_content_width(self, container: Size, viewport: Size) -> int:
        """Return all the width there is."""
        return container.width

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Return the lines of all rows of frames, and of the name."""
        # The frames of one video must not fill a small window.
        across = self._cells.across(max(1, width))
        lines = max(1, viewport.height // 12)
        self._choose(min(MOST, across * lines))
        return -(-len(self._times) // across) * self._cells.height + 1

    def render_line(self, y: int) -> Strip:
        """Return one line; being asked for it means that it is in view."""
        width, ground = self.size.width, self.rich_style
        if width < 1:
            return Strip.blank(width, ground)
        across = self._cells.across(width)
        row, line = divmod(y, self._cells.height)
        here = slice(row * across, (row + 1) * across)
        if here.start >= len(self._times):
            name = "frames--focus" if self.has_focus else "frames--about"
            style = self.get_component_rich_style(name)
            return Strip([Segment(self.label, style)]).adjust_cell_length(width, style)
        style = self.get_component_rich_style("frames--time")
        strips = [
            self._cells.line(time, line, Look(label, style))
            for time, label in zip(self._times[here], self._labels[here], strict=True)
        ]
        return Strip.join(strips).adjust_cell_length(width, ground)

    def on_click(self) -> None:
        """Show the frames large."""
        self.action_view()

    def action_view(self) -> None:
        """Show the frames large, with what else is in the conversation to either side."""
        view_large(self)

    def action_open(self) -> None:
        """Open the video in the desktop's viewer."""
        open_or_tell(self, self.part.media)


def _label(part: VideoPart, shown: int) -> str:
    media, count = part.media, len(part.clip.times)
    frames = f"{count} {'frame' if count == 1 else 'frames'}"
    length = "" if part.clip.duration is None else f" · {clock(part.clip.duration)}"
    some = f"{shown} of {frames}" if shown < count else frames
    return f"▶ {visible_line(media.name)}  {media.width}×{media.height}{length} · {some}"

"""A list of one folder's entries that stays quick with ten thousand of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from vlmchat.talk.desktop.folder import Entry
from vlmchat.text import human_bytes, visible_line


class FileList(ScrollView, can_focus=True):
    """Shows entries, a cursor, and which files are marked."""

    DEFAULT_CSS = """
    FileList {
        overflow-x: hidden;
        overflow-y: auto;
        scrollbar-size-vertical: 1;
        scrollbar-gutter: stable;
        background: $surface;
        & > .file-list--folder {
            color: $secondary;
        }
        & > .file-list--file {
            color: $foreground;
        }
        & > .file-list--marked {
            color: $accent;
            text-style: bold;
        }
        & > .file-list--cursor {
            background: $block-cursor-background;
            color: $block-cursor-foreground;
        }
        & > .file-list--blurred-cursor {
            background: $panel;
            color: $foreground;
        }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "file-list--folder",
        "file-list--file",
        "file-list--marked",
        "file-list--cursor",
        "file-list--blurred-cursor",
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "Up", show=False),
        Binding("down", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home", "go(0)", "First", show=False),
        Binding("end", "go(-1)", "Last", show=False),
        Binding("enter", "choose", "Open", show=False),
        Binding("space", "mark", "Mark", show=False),
    ]

    cursor: reactive[int] = reactive(0)

    class Moved(Message):
        """The cursor stands on another entry, or on none."""

    class Marked(Message):
        """Other files are marked."""

    class Chosen(Message):
        """Enter or a second click on an entry."""

        def __init__(self, entry: Entry) -> None:
            super().__init__()
            self.entry = entry

    class ReachedTop(Message):
        """The cursor wants to go above the first entry."""

    def __init__(self) -> None:
        super().__init__(id="picker-list")
        self.entries: Sequence[Entry] = ()
        self.marked: dict[Path, None] = {}

    @property
    def current(self) -> Entry | None:
        """The entry under the cursor."""
        return self.entries[self.cursor] if self.cursor < len(self.entries) else None

    def show(self, entries: Sequence[Entry], at: Path | None = None) -> None:
        """Show these entries, the cursor on `at` if it is among them, else where it was."""
        before = self.current
        self.entries = entries
        # Comparing ten thousand paths takes time; the entries themselves stay the same objects.
        labels = {visible_line(at.name), visible_line(str(at))} if at else set()
        place = next(
            (
                number
                for number, entry in enumerate(entries)
                if (entry is before if at is None else entry.label in labels and entry.path == at)
            ),
            None,
        )
        self.set_reactive(FileList.cursor, min(self.cursor if place is None else place, self._last))
        self.virtual_size = Size(self.scrollable_content_region.width, len(entries))
        self._follow()
        self.refresh()
        if self.current != before:
            self.post_message(self.Moved())

    @property
    def _last(self) -> int:
        return max(0, len(self.entries) - 1)

    def validate_cursor(self, cursor: int) -> int:
        """Keep the cursor on the list."""
        return max(0, min(self._last, cursor))

    def watch_cursor(self) -> None:
        """Keep the cursor in view."""
        self._follow()
        self.refresh()
        self.post_message(self.Moved())

    def _follow(self) -> None:
        self.scroll_to_region(Region(0, self.cursor, 1, 1), animate=False, force=True)

    def action_move(self, step: int) -> None:
        """Go up or down by one."""
        if step < 0 and self.cursor == 0:
            self.post_message(self.ReachedTop())
        self.cursor += step

    def action_page(self, step: int) -> None:
        """Go up or down by what is in view."""
        self.cursor += step * max(1, self.size.height - 1)

    def action_go(self, number: int) -> None:
        """Go to the first or the last."""
        self.cursor = number if number >= 0 else self._last

    def action_choose(self) -> None:
        """Choose the entry under the cursor."""
        if self.current is not None:
            self.post_message(self.Chosen(self.current))

    def action_mark(self) -> None:
        """Mark the file under the cursor, or unmark it, and go on to the next."""
        if self.current is not None and not self.current.folder:
            self._toggle(self.current)
            self.cursor += 1

    def _toggle(self, entry: Entry) -> None:
        if entry.path in self.marked:
            del self.marked[entry.path]
        else:
            self.marked[entry.path] = None
        self.refresh()
        self.post_message(self.Marked())

    def on_click(self, event: events.Click) -> None:
        """Enter a folder, mark a file; a second click on a file chooses it."""
        number = event.y + self.scroll_offset.y
        if not 0 <= number < len(self.entries):
            return
        self.cursor = number
        entry = self.entries[number]
        if entry.folder:
            self.post_message(self.Chosen(entry))
        elif event.chain == 2:
            # The first click toggled the mark; the file under the pointer is what is meant.
            self.marked[entry.path] = None
            self.post_message(self.Chosen(entry))
        elif event.chain == 1:
            self._toggle(entry)

    def render_line(self, y: int) -> Strip:
        """Return one line of what is in view."""
        width = self.scrollable_content_region.width
        number = y + self.scroll_offset.y
        if number >= len(self.entries):
            return Strip.blank(width, self.rich_style)
        entry = self.entries[number]
        marked = entry.path in self.marked
        name = "folder" if entry.folder else "marked" if marked else "file"
        if number == self.cursor:
            name = "cursor" if self.has_focus else "blurred-cursor"
        mark = "▸ " if entry.folder else "✓ " if marked else "  "
        size = "" if entry.folder else human_bytes(entry.size)
        label = _fitted(mark + entry.label, width - len(size) - 1)
        style = self.get_component_rich_style(f"file-list--{name}")
        text = f"{label}{size} " if size else set_cell_size(label, width)
        return Strip([Segment(text, style)], width).adjust_cell_length(width, style)


def _fitted(text: str, width: int) -> str:
    if cell_len(text) >= width:
        text = set_cell_size(text, max(0, width - 2)) + "…"
    return set_cell_size(text, max(0, width))

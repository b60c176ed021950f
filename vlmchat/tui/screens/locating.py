"""Pictures of a folder in the order in which they fit a sentence."""

import contextlib
from pathlib import Path
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalGroup
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from vlmchat.retrieve.ranking import Found
from vlmchat.talk.desktop.folder import Entry
from vlmchat.talk.locating import Locating
from vlmchat.text import visible_line
from vlmchat.tui.widgets.file_list import FileList
from vlmchat.tui.widgets.file_preview import PREVIEW_FROM, FilePreview

_KEYS = "Enter attaches · Space marks · Esc closes"
_WHILE_ACTIVE = "x ends the search · "


class Located(ModalScreen[list[Path] | None]):
    """Shows what is found while it is looked for; returns the files that are to be attached.

    Closing this does not end the search.

    Args:
        locating: that is shown.
    """

    DEFAULT_CSS = """
    Located {
        #located-line, #located-facts {
            height: 1;
            text-wrap: nowrap;
            text-overflow: ellipsis;
        }
        #located-line {
            color: $primary;
            text-style: bold;
        }
        FileList {
            width: 1fr;
            height: 1fr;
        }
        &.narrow FilePreview {
            display: none;
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "Close"),
        Binding("x", "end", "End it"),
    ]

    def __init__(self, locating: Locating) -> None:
        super().__init__(id="located")
        self._locating = locating
        self._entries: dict[int, Entry] = {}
        self._facts = ""

    def compose(self) -> ComposeResult:
        """Lay out how it stands, the files, the preview, and facts."""
        with VerticalGroup(id="located-dialog", classes="dialog") as dialog:
            dialog.border_title = "Pictures found"
            yield Static("", id="located-line", markup=False)
            with Horizontal():
                yield FileList()
                yield FilePreview()
            yield Static("", id="located-facts", markup=False)

    def on_mount(self) -> None:
        """Begin in the list, and show how it stands, now and whenever that changes."""
        self.query_one(FileList).focus()
        self.set_class(self.app.size.width < PREVIEW_FROM, "narrow")
        self._locating.changed = self._show
        self._show()

    def on_unmount(self) -> None:
        """Show nothing any more."""
        self._locating.changed = lambda: None

    def on_resize(self, event: events.Resize) -> None:
        """Show the preview where there is room for it."""
        self.set_class(event.size.width < PREVIEW_FROM, "narrow")
        self._moved()

    def _show(self) -> None:
        keys = _WHILE_ACTIVE + _KEYS if self._locating.active else _KEYS
        self.query_one("#located-dialog").border_subtitle = keys
        self.query_one("#located-line", Static).update(Content(self._locating.line()))
        files = self.query_one(FileList)
        on_the_best = files.cursor == 0
        files.show([self._entry(one) for one in self._locating.found])
        if on_the_best:  # who has not gone down the list stays there, whichever that is by now
            files.cursor = 0
        self._tell()

    def _entry(self, one: Found) -> Entry:
        """Return a found file's line, the same object each time."""
        entry = self._entries.get(id(one))
        if entry is None:
            assert isinstance(one.what, Path) and self._locating.wish is not None
            path, size = one.what, 0
            folder = self._locating.wish.folder
            shown = path.relative_to(folder) if path.is_relative_to(folder) else path
            with contextlib.suppress(OSError):  # it may be gone by now
                size = path.stat().st_size
            label = f"{one.score:+.2f}  {visible_line(str(shown))}"
            entry = Entry(path, label, folder=False, size=size)
            self._entries[id(one)] = entry
        return entry

    def _tell(self) -> None:
        marked = len(self.query_one(FileList).marked)
        parts = [self._facts]
        if marked:
            parts.insert(0, f"{marked} marked, Enter attaches {'it' if marked == 1 else 'them'}")
        text = " · ".join(part for part in parts if part)
        self.query_one("#located-facts", Static).update(Content(text))

    @on(FileList.Moved)
    @on(FileList.Marked)
    def _moved(self) -> None:
        entry = self.query_one(FileList).current
        self.query_one(FilePreview).want(entry.path if entry is not None else None)
        self._tell()

    @on(FilePreview.Described)
    def _described(self, event: FilePreview.Described) -> None:
        self._facts = event.facts
        self._tell()

    @on(FileList.Chosen)
    def _chosen(self, event: FileList.Chosen) -> None:
        self.dismiss(list(self.query_one(FileList).marked) or [event.entry.path])

    def action_end(self) -> None:
        """End the search; what was looked at stays."""
        self._locating.stop()
        self._show()

"""The file picker: type a path, or walk the folders, with a look at each picture or video."""

import asyncio
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, HorizontalGroup, VerticalGroup
from textual.content import Content
from textual.screen import ModalScreen
from textual.suggester import Suggester
from textual.widgets import Input, Static
from textual.worker import get_current_worker

from vlmchat.errors import VlmchatError
from vlmchat.media.attaching import MEDIA_SUFFIXES, VIDEO_SUFFIXES
from vlmchat.media.images import SUFFIXES
from vlmchat.talk.desktop.folder import Entry, FileKind, Order, in_order, scan
from vlmchat.talk.desktop.pasted import expand, parse_paths
from vlmchat.text import visible_line
from vlmchat.tui.widgets.file_list import FileList
from vlmchat.tui.widgets.file_preview import PREVIEW_FROM, FilePreview


class PathSuggester(Suggester):
    """Completes the last component of a typed path.

    Args:
        suffixes: of the files that are wanted.
    """

    def __init__(self, suffixes: frozenset[str] = MEDIA_SUFFIXES) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._suffixes = suffixes

    async def get_suggestion(self, value: str) -> str | None:
        """Return `value` with its last component completed, or nothing."""
        return await asyncio.to_thread(complete_path, value, self._suffixes)


def complete_path(value: str, suffixes: frozenset[str] = MEDIA_SUFFIXES) -> str | None:
    """Return `value` completed to the first folder or wanted file it begins; blocking."""
    folder_text, slash, start = value.rpartition("/")
    if not start:
        return None
    folder = expand(folder_text + slash) if slash else Path()
    try:
        with os.scandir(folder) as entries:
            found = sorted(
                entry.name + ("/" if entry.is_dir() else "")
                for entry in entries
                if entry.name.startswith(start)
                and (entry.is_dir() or Path(entry.name).suffix.lower() in suffixes)
            )
    except OSError:
        return None
    return folder_text + slash + found[0] if found else None


_PICTURES = FileKind("pictures", SUFFIXES)
_VIDEOS = FileKind("videos", VIDEO_SUFFIXES)
_KEYS = "Enter attaches · Space marks · s sorts · . hidden · r recent · / filters"


class Picker(ModalScreen[list[Path] | None]):
    """Returns the chosen files, or ``None``.

    Args:
        folder: where to begin; the current folder by default.
        recent: folders that were used before, the last one first.
        used: told the folder that files were chosen from.
        kinds: what can be chosen.
    """

    DEFAULT_CSS = """
    Picker {
        #picker-fields {
            height: 1;
            margin: 0 0 1 0;
            #picker-path {
                width: 2fr;
                margin: 0 1 0 0;
            }
            #picker-filter {
                width: 1fr;
                background: $panel;
                & > .input--placeholder {
                    color: $muted;
                }
            }
        }
        #picker-folder, #picker-facts {
            height: 1;
            text-wrap: nowrap;
            text-overflow: ellipsis;
        }
        #picker-folder {
            color: $primary;
            text-style: bold;
        }
        #picker-list {
            width: 1fr;
            height: 1fr;
        }
        #picker-body {
            height: 1fr;
        }
        &.narrow FilePreview {
            display: none;
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Close"),
        Binding("s", "sort", "Sort"),
        Binding("full_stop", "hidden", "Hidden files"),
        Binding("r", "recent", "Recent folders"),
        Binding("k", "kind", "Kind"),
        Binding("slash", "filter", "Filter"),
        Binding("backspace,left", "parent", "Up"),
    ]

    def __init__(
        self,
        folder: Path | None = None,
        recent: Sequence[Path] = (),
        used: Callable[[Path], None] | None = None,
        kinds: Sequence[FileKind] = (_PICTURES, _VIDEOS),
    ) -> None:
        super().__init__(id="picker")
        self.folder = (folder or Path.cwd()).absolute()
        self._recent = tuple(recent)
        self._used = used
        # All kinds at once come first, then each alone.
        every = FileKind(" and ".join(kind.name for kind in kinds), suffixes_of(kinds))
        self._kinds = (every, *kinds) if len(kinds) > 1 else (every,)
        self._kind = every
        self._order: Order = "name"
        self._hidden = False
        self._showing_recent = False
        self._found: list[Entry] = []
        self._scanning = False
        self._trouble = ""

    def compose(self) -> ComposeResult:
        """Lay out path and filter, the folder, the preview, and facts."""
        with VerticalGroup(id="picker-dialog", classes="dialog") as dialog:
            dialog.border_title = f"Attach {self._kind.name}"
            dialog.border_subtitle = _KEYS
            with HorizontalGroup(id="picker-fields"):
                yield Input(
                    placeholder="Type or paste a path",
                    suggester=PathSuggester(self._kinds[0].suffixes),
                    compact=True,
                    id="picker-path",
                )
                yield Input(placeholder="Filter by name", compact=True, id="picker-filter")
            yield Static("", id="picker-folder", markup=False)
            with Horizontal(id="picker-body"):
                yield FileList()
                yield FilePreview()
            yield Static("", id="picker-facts", markup=False)

    def on_mount(self) -> None:
        """Begin with the typed path, and read the folder."""
        self.query_one("#picker-path").focus()
        self.set_class(self.app.size.width < PREVIEW_FROM, "narrow")
        self._enter(self.folder)

    def on_resize(self, event: events.Resize) -> None:
        """Show the preview where there is room for it."""
        self.set_class(event.size.width < PREVIEW_FROM, "narrow")
        self._moved()

    # The folder -------------------------------------------------------------------------------

    def _enter(self, folder: Path, at: Path | None = None) -> None:
        """Show what is in `folder`."""
        self.folder, self._showing_recent = folder, False
        self._trouble, self._found, self._scanning = "", [], True
        parent = folder.parent
        if parent != folder:
            self._found.append(Entry(parent, "..", True))
        self.query_one("#picker-filter", Input).value = ""
        self._show(at)
        worker = partial(self._scan, folder, at, asyncio.get_running_loop())
        self.run_worker(worker, thread=True, group="scan", exclusive=True)

    def _scan(self, folder: Path, at: Path | None, loop: asyncio.AbstractEventLoop) -> None:
        worker = get_current_worker()

        def found(piece: list[Entry], last: bool = False, trouble: str = "") -> None:
            if not worker.is_cancelled:
                loop.call_soon_threadsafe(self._arrived, folder, piece, at, last, trouble)

        trouble = ""
        try:
            scan(folder, self._kinds[0].suffixes, found, lambda: worker.is_cancelled)
        except VlmchatError as error:
            trouble = str(error)
        found([], True, trouble)

    def _arrived(
        self, folder: Path, piece: list[Entry], at: Path | None, last: bool, trouble: str
    ) -> None:
        if folder != self.folder or self._showing_recent or not self.is_attached:
            return
        self._found += piece
        self._scanning = not last
        self._trouble = trouble or self._trouble
        self._show(at)

    def _show(self, at: Path | None = None) -> None:
        """Draw the entries that the filter, the kind and the setting for hidden ones leave."""
        wanted = self.query_one("#picker-filter", Input).value.casefold()
        entries = [entry for entry in self._found if self._passes(entry, wanted)]
        up = [entry for entry in entries if entry.label == ".."]
        rest = [entry for entry in entries if entry.label != ".."]
        if not self._showing_recent:
            rest = in_order(rest, self._order)
        self.query_one(FileList).show([*up, *rest], at)
        self._say(sum(not entry.folder for entry in rest))

    def _passes(self, entry: Entry, wanted: str) -> bool:
        if entry.label == "..":
            return not wanted
        if entry.hidden and not self._hidden:
            return False
        if not entry.folder and entry.suffix not in self._kind.suffixes:
            return False
        return wanted in entry.label.casefold()

    def _say(self, files: int) -> None:
        if self._showing_recent:
            line = "Recent folders"
        else:
            state = " …" if self._scanning else ""
            order = "newest first" if self._order == "newest" else "by name"
            hidden = ", hidden ones too" if self._hidden else ""
            counted = f"{files} {self._kind.name}{state}, {order}{hidden}"
            line = f"{visible_line(str(self.folder))}  {counted}"
        self.query_one("#picker-folder", Static).update(Content(line))
        self._tell()

    def _tell(self, facts: str = "") -> None:
        """Show what went wrong, what is marked, or the facts of the highlighted file."""
        marked = len(self.query_one(FileList).marked)
        parts = [self._trouble or facts]
        if marked:
            parts.insert(0, f"{marked} marked, Enter attaches {'it' if marked == 1 else 'them'}")
        text = " · ".join(part for part in parts if part)
        self.query_one("#picker-facts", Static).update(Content(text))

    # The preview ------------------------------------------------------------------------------

    @on(FileList.Moved)
    def _moved(self) -> None:
        entry = self.query_one(FileList).current
        path = entry.path if entry is not None and not entry.folder else None
        self.query_one(FilePreview).want(path)

    @on(FilePreview.Described)
    def _described(self, event: FilePreview.Described) -> None:
        self._tell(event.facts)

    @on(FileList.Marked)
    def _marked(self) -> None:
        self._moved()

    # Choosing ---------------------------------------------------------------------------------

    @on(Input.Submitted, "#picker-path")
    def _typed(self, event: Input.Submitted) -> None:
        files = self.query_one(FileList)
        paths = parse_paths(event.value)
        if len(paths) == 1 and paths[0].is_dir():
            self.query_one("#picker-path", Input).value = ""
            self._enter(paths[0].absolute())
            files.focus()
        elif not paths:
            files.focus()
        elif missing := next((path for path in paths if not path.is_file()), None):
            self._tell(f"There is no file “{visible_line(str(missing))}”.")
        else:
            self._finish(paths, paths[0].absolute().parent)

    @on(Input.Submitted, "#picker-filter")
    def _filter_done(self) -> None:
        self.query_one(FileList).focus()

    @on(Input.Changed, "#picker-filter")
    def _filtered(self) -> None:
        self._show()

    @on(FileList.ReachedTop)
    def _above(self) -> None:
        self.query_one("#picker-filter").focus()

    @on(FileList.Chosen)
    def _chosen(self, event: FileList.Chosen) -> None:
        if event.entry.folder:
            self._enter(event.entry.path, at=self.folder)
        else:
            marked = list(self.query_one(FileList).marked)
            self._finish(marked or [event.entry.path], self.folder)

    def _finish(self, paths: list[Path], folder: Path) -> None:
        if self._used is not None:
            self._used(folder)
        self.dismiss(paths)

    def on_key(self, event: events.Key) -> None:
        """Go down from the fields into the list."""
        if event.key == "down" and isinstance(self.focused, Input):
            event.stop()
            self.query_one(FileList).focus()

    # Keys -------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer kinds only where there are several."""
        return action != "kind" or len(self._kinds) > 1

    def action_leave(self) -> None:
        """Leave the filter, the marks or the recent folders first; then close."""
        field, files = self.query_one("#picker-filter", Input), self.query_one(FileList)
        if field.value:
            field.value = ""
            files.focus()
        elif self._showing_recent:
            self._enter(self.folder)
        else:
            self.dismiss(None)

    def action_sort(self) -> None:
        """Sort by name, or the newest first."""
        self._order = "newest" if self._order == "name" else "name"
        self._show()

    def action_hidden(self) -> None:
        """Show or leave out what begins with a full stop."""
        self._hidden = not self._hidden
        self._show()

    def action_kind(self) -> None:
        """Show the next kind only."""
        at = self._kinds.index(self._kind)
        self._kind = self._kinds[(at + 1) % len(self._kinds)]
        self._show()

    def action_filter(self) -> None:
        """Write in the filter."""
        self.query_one("#picker-filter").focus()

    def action_parent(self) -> None:
        """Go to the folder above."""
        if self._showing_recent:
            self._enter(self.folder)
        elif self.folder.parent != self.folder:
            self._enter(self.folder.parent, at=self.folder)

    def action_recent(self) -> None:
        """Show the folders that were used before."""
        if not self._recent:
            self._tell("No folder was used yet.")
            return
        self.workers.cancel_group(self, "scan")
        self._showing_recent, self._scanning, self._trouble = True, False, ""
        self._found = [Entry(path, visible_line(str(path)), True) for path in self._recent]
        self.query_one("#picker-filter", Input).value = ""
        self._show(self._recent[0])
        self.query_one(FileList).focus()


def suffixes_of(kinds: Sequence[FileKind]) -> frozenset[str]:
    """Return the suffixes of all `kinds`."""
    return frozenset().union(*(kind.suffixes for kind in kinds))

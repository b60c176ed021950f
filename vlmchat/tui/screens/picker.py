"""The file picker: type a path, or walk the folders."""

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalGroup
from textual.content import Content
from textual.screen import ModalScreen
from textual.suggester import Suggester
from textual.widgets import DirectoryTree, Input, Static, Tree
from textual.widgets.directory_tree import DirEntry

from vlmchat.errors import VlmchatError
from vlmchat.media.images import SUFFIXES, dimensions
from vlmchat.text import human_bytes, visible_line
from vlmchat.tui.pasted import expand, parse_paths


def is_picture(path: Path) -> bool:
    """Say whether the name is that of a picture file."""
    return path.suffix.lower() in SUFFIXES


class PathSuggester(Suggester):
    """Completes the last component of a typed path."""

    def __init__(self) -> None:
        super().__init__(use_cache=False, case_sensitive=True)

    async def get_suggestion(self, value: str) -> str | None:
        """Return `value` with its last component completed, or nothing."""
        return await asyncio.to_thread(complete_path, value)


def complete_path(value: str) -> str | None:
    """Return `value` completed to the first folder or picture it begins; blocking."""
    folder_text, slash, start = value.rpartition("/")
    if not start:
        return None
    folder = expand(folder_text + slash) if slash else Path()
    try:
        with os.scandir(folder) as entries:
            found = sorted(
                entry.name + ("/" if entry.is_dir() else "")
                for entry in entries
                if entry.name.startswith(start) and (entry.is_dir() or is_picture(Path(entry.name)))
            )
    except OSError:
        return None
    return folder_text + slash + found[0] if found else None


class PictureTree(DirectoryTree):
    """Folders and pictures, nothing hidden."""

    ICON_NODE = "▸ "
    ICON_NODE_EXPANDED = "▾ "
    ICON_FILE = "  "

    def filter_paths(self, paths: Iterable[Path]) -> Iterable[Path]:
        """Leave out hidden entries and other files."""
        return [path for path in paths if not path.name.startswith(".") and _shown(path)]


def _shown(path: Path) -> bool:
    try:
        return path.is_dir() or is_picture(path)
    except OSError:
        return False


class Picker(ModalScreen[list[Path] | None]):
    """Returns the chosen files, or ``None``.

    Args:
        folder: where to begin; the current folder by default.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Close"),
    ]

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__(id="picker")
        self._folder = folder or Path.cwd()

    def compose(self) -> ComposeResult:
        """Lay out path, folders and facts."""
        with VerticalGroup(classes="dialog") as dialog:
            dialog.border_title = "Attach a picture"
            dialog.border_subtitle = "Enter attaches · Tab changes field · Esc closes"
            yield Input(
                placeholder="Type or paste a path, or walk the folders below",
                suggester=PathSuggester(),
                compact=True,
                id="picker-path",
            )
            yield PictureTree(self._folder, id="picker-tree")
            yield Static("", id="picker-facts", markup=False)

    def on_mount(self) -> None:
        """Begin with the typed path."""
        self.query_one(Input).focus()

    @on(Input.Submitted)
    def _typed(self, event: Input.Submitted) -> None:
        paths = parse_paths(event.value)
        if len(paths) == 1 and paths[0].is_dir():
            self.query_one(PictureTree).path = paths[0]
            self.query_one(Input).value = ""
            self.query_one(PictureTree).focus()
        elif not paths:
            self.query_one(PictureTree).focus()
        elif missing := next((path for path in paths if not path.is_file()), None):
            self._say(f"There is no file “{visible_line(str(missing))}”.")
        else:
            self.dismiss(paths)

    @on(DirectoryTree.FileSelected)
    def _selected(self, event: DirectoryTree.FileSelected) -> None:
        self.dismiss([event.path])

    @on(Tree.NodeHighlighted)
    def _highlighted(self, event: Tree.NodeHighlighted[DirEntry]) -> None:
        entry = event.node.data
        if entry is not None:
            self.run_worker(self._describe(entry.path), group="facts", exclusive=True)

    async def _describe(self, path: Path) -> None:
        if not is_picture(path):
            self._say("")
            return
        self._say(await asyncio.to_thread(describe_file, path))

    def _say(self, text: str) -> None:
        self.query_one("#picker-facts", Static).update(Content(text))


def describe_file(path: Path) -> str:
    """Return one line about the picture file at `path`; blocking."""
    try:
        width, height = dimensions(path)
        size = path.stat().st_size
    except VlmchatError as error:
        return str(error)
    except OSError as error:
        return visible_line(str(error))
    return f"{visible_line(path.name)}  {width}×{height} · {human_bytes(size)}"

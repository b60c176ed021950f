"""Theme files are read again when they are saved, while the chat goes on.

The files are looked at once a second (a dozen `stat` calls in a thread): no library, no limit on
watches, and it works on network folders too.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from textual.app import App
from textual.theme import BUILTIN_THEMES

from vlmchat.errors import UsageError
from vlmchat.talk.question import NoticeKind
from vlmchat.talk.theme_files import theme_files
from vlmchat.text import visible_line
from vlmchat.tui.themes import FileTheme, load_theme

INTERVAL = 1.0
"""Seconds between two looks."""
_Mark = tuple[Path, int, int, int]


@dataclass(slots=True)
class Changes:
    """What became of the theme files since the last look.

    Attributes:
        loaded: themes that are new or were saved.
        mended: names among them whose file was wrong before.
        wrong: names whose file is wrong now, each with the sentence about it.
        gone: names whose file is no more.
    """

    loaded: list[FileTheme] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)
    wrong: dict[str, str] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)


class ThemeFiles:
    """Remembers how every theme file was when it was last looked at."""

    def __init__(self) -> None:
        self._seen: dict[str, _Mark] = {}
        self._wrong: set[str] = set()
        # Editors empty or remove a file before they write it anew: bad news is believed only when
        # two looks in a row agree.
        self._doubted: dict[str, _Mark | None] = {}
        self._first = True

    def look(self) -> Changes:
        """Return what changed; the first time, everything. Blocking."""
        changes = Changes()
        found = {name: mark for name, path in theme_files().items() if (mark := _mark(path))}
        for name, mark in found.items():
            if self._seen.get(name) == mark:
                self._doubted.pop(name, None)
            else:
                self._read(name, mark, changes)
        for name in self._seen.keys() - found.keys():
            if name in self._doubted and self._doubted[name] is None:
                del self._seen[name], self._doubted[name]
                self._wrong.discard(name)
                changes.gone.append(name)
            else:
                self._doubted[name] = None
        self._first = False
        return changes

    def _read(self, name: str, mark: _Mark, changes: Changes) -> None:
        try:
            theme = load_theme(mark[0])
        except UsageError as error:
            if not self._first and self._doubted.get(name) != mark:
                self._doubted[name] = mark
                return
            self._wrong.add(name)
            changes.wrong[name] = str(error)
        else:
            changes.loaded.append(theme)
            if name in self._wrong:
                self._wrong.remove(name)
                changes.mended.append(name)
        self._doubted.pop(name, None)
        self._seen[name] = mark


def _mark(path: Path) -> _Mark | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return path, stat.st_mtime_ns, stat.st_size, stat.st_ino


class ThemeKeeper:
    """Keeps the themes of an app as their files are.

    Args:
        app: whose themes.
        tell: shows a sentence to the person.
        wanted: the theme that was asked for but could not be read; it is taken once it can.
    """

    def __init__(
        self, app: App[str], tell: Callable[[str, NoticeKind], None], wanted: str | None = None
    ) -> None:
        self._app = app
        self._tell = tell
        self._wanted = wanted
        self._instead = app.theme
        self._orphans: set[str] = set()

    async def watch(self) -> None:
        """Look again and again, until cancelled."""
        files = ThemeFiles()
        while True:
            self.apply(await asyncio.to_thread(files.look))
            await asyncio.sleep(INTERVAL)

    def apply(self, changes: Changes) -> None:
        """Take the changes over into the app."""
        app = self._app
        for theme in changes.loaded:
            self._orphans.discard(theme.name)
            if app.available_themes.get(theme.name) == theme:
                continue
            app.register_theme(theme)
            if theme.name == app.theme:
                app.mutate_reactive(App.theme)
        for name in changes.mended:
            self._tell(f"The theme “{visible_line(name)}” is in order again.", "note")
        for name, sentence in changes.wrong.items():
            self._tell(sentence + self._meanwhile(name), "error")
        self._take_wanted()
        for name in changes.gone:
            self._forget(name)
        for name in [name for name in self._orphans if name != app.theme]:
            self._orphans.remove(name)
            app.unregister_theme(name)

    def _meanwhile(self, name: str) -> str:
        if name == self._wanted:
            return f" Until it is mended, the colours are those of “{self._app.theme}”."
        if name == self._app.theme:
            return " Until it is mended, the colours stay as they were."
        return ""

    def _take_wanted(self) -> None:
        app = self._app
        if app.theme != self._instead:
            self._wanted = None  # the person has chosen another meanwhile
        elif self._wanted is not None and self._wanted in app.available_themes:
            app.theme = self._wanted
            self._wanted = None

    def _forget(self, name: str) -> None:
        app = self._app
        if name in BUILTIN_THEMES:
            app.register_theme(BUILTIN_THEMES[name])
            if name == app.theme:
                app.mutate_reactive(App.theme)
            return
        self._orphans.add(name)
        if name == app.theme:
            self._tell(
                f"The file of the theme “{visible_line(name)}” is gone; its colours stay until "
                "you choose others with /theme.",
                "note",
            )

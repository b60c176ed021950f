"""Searching: everything ever said, or the conversation that is open."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalGroup
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from vlmchat.errors import VlmchatError
from vlmchat.talk.turns.tree import Turn
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from vlmchat.store.records import Hit
    from vlmchat.talk.keeping.library import Library

_T = TypeVar("_T")
_MOST = 200
_AROUND = 24
_AFTER = 160
_SPACES = re.compile(r"\s+")


class _Finder(ModalScreen[_T | None], Generic[_T]):
    """A field to type in and the list of what is found; returns what was chosen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Close"),
        Binding("down", "move(1)", show=False),
        Binding("up", "move(-1)", show=False),
        Binding("pagedown", "move(8)", show=False),
        Binding("pageup", "move(-8)", show=False),
    ]
    DEFAULT_CSS = """
    _Finder Input { margin: 0 0 1 0; background: $panel; }
    _Finder OptionList { height: 1fr; text-wrap: nowrap; text-overflow: ellipsis; }
    _Finder #found { height: 1; color: $muted; }
    """

    def __init__(self, title: str, placeholder: str, text: str) -> None:
        super().__init__(classes="finder")
        self._title, self._placeholder, self._text = title, placeholder, text
        self._found: Sequence[_T] = ()

    def compose(self) -> ComposeResult:
        """Lay out field, list and count."""
        with VerticalGroup(classes="dialog") as dialog:
            dialog.border_title = self._title
            dialog.border_subtitle = "↑ ↓ choose · Enter goes there · Esc closes"
            yield Input(self._text, placeholder=self._placeholder, compact=True)
            yield OptionList()
            yield Static("", id="found", markup=False)

    def on_mount(self) -> None:
        """Let the person type."""
        self.query_one(OptionList).can_focus = False
        self.query_one(Input).focus()

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        self.run_worker(self._look(event.value), group="search", exclusive=True)

    async def _look(self, text: str) -> None:
        try:
            found = await self.look(text)
        except VlmchatError as error:
            self.query_one("#found", Static).update(Content(str(error)))
            return
        self._found = found
        lines = self.query_one(OptionList)
        lines.set_options([Option(self.line(item, text)) for item in found])
        lines.highlighted = 0 if found else None
        count = f"{len(found)}{'+' if len(found) >= _MOST else ''} found" if found else ""
        if text.strip() and not found:
            count = "Nothing found."
        self.query_one("#found", Static).update(Content(count))

    async def look(self, text: str) -> Sequence[_T]:
        """Return what matches `text`."""
        raise NotImplementedError

    def line(self, item: _T, text: str) -> Content:
        """Return how one hit is shown."""
        raise NotImplementedError

    def action_move(self, step: int) -> None:
        """Move through the list."""
        lines = self.query_one(OptionList)
        if lines.option_count:
            place = (lines.highlighted or 0) + step
            lines.highlighted = max(0, min(place, lines.option_count - 1))

    @on(Input.Submitted)
    def _submitted(self) -> None:
        place = self.query_one(OptionList).highlighted
        if place is not None and place < len(self._found):
            self.dismiss(self._found[place])

    @on(OptionList.OptionSelected)
    def _clicked(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._found[event.option_index])


class SearchScreen(_Finder["Hit"]):
    """Searches everything ever said.

    Args:
        library: where it is kept.
        text: what to begin with.
    """

    def __init__(self, library: "Library", text: str) -> None:
        super().__init__("Search all conversations", "Words to look for", text)
        self._library = library

    async def look(self, text: str) -> Sequence["Hit"]:
        """Return the messages with all words of `text`."""
        return await self._library.run(lambda store: store.search(text, limit=_MOST))

    def line(self, item: "Hit", text: str) -> Content:
        """Return title, date and speaker, and the excerpt below."""
        day = datetime.fromtimestamp(item.created).astimezone()
        who = "you" if item.role == "user" else item.role
        title = visible_line(item.title) or "untitled"
        parts: list[str | tuple[str, str]] = [(title, "bold"), f"  {day:%Y-%m-%d} · {who}\n  "]
        for piece, hit in item.excerpt:
            parts.append((visible_line(_SPACES.sub(" ", piece)), "reverse" if hit else ""))
        return Content.assemble(*parts)


class FindScreen(_Finder[Turn]):
    """Searches the conversation that is open.

    Args:
        path: its turns.
        text: what to begin with.
    """

    def __init__(self, path: Sequence[Turn], text: str) -> None:
        super().__init__("Search this conversation", "Text to look for", text)
        self._path = path

    async def look(self, text: str) -> Sequence[Turn]:
        """Return the turns that hold `text`, the newest first."""
        wanted = text.strip().casefold()
        if not wanted:
            return ()
        return [turn for turn in reversed(self._path) if wanted in turn.text.casefold()][:_MOST]

    def line(self, item: Turn, text: str) -> Content:
        """Return the speaker and the text around the first match."""
        who = "You" if item.role == "user" else item.role.capitalize()
        said = visible_line(" ".join(item.text.split()))
        match = re.search(re.escape(" ".join(text.split())), said, re.IGNORECASE)
        start, end = match.span() if match else (0, 0)
        begin = max(0, start - _AROUND)
        return Content.assemble(
            (f"{who}: ", "bold"),
            ("…" if begin else "") + said[begin:start],
            (said[start:end], "reverse"),
            said[end : end + _AFTER],
        )

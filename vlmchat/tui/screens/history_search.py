"""Searching what was asked before, newest first."""

from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalGroup
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from vlmchat.talk.history import SEARCHED, matching
from vlmchat.text import visible, visible_line

_SHOWN = 200
_LONGEST = 400


class HistorySearch(ModalScreen[str | None]):
    """Returns the text that was chosen, or ``None``.

    Args:
        entries: gives up to so many texts, newest first.
        query: what to begin with.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+g", "dismiss(None)", "Close"),
        Binding("up", "move(-1)", show=False),
        Binding("down,ctrl+r", "move(1)", show=False),
        Binding("pageup", "move(-10)", show=False),
        Binding("pagedown", "move(10)", show=False),
    ]

    DEFAULT_CSS = """
    HistorySearch {
        Input {
            margin-bottom: 1;
            background: $panel;
            & > .input--placeholder {
                color: $muted;
            }
        }
        OptionList {
            height: 1fr;
            text-wrap: nowrap;
            text-overflow: ellipsis;
        }
    }
    """

    def __init__(self, entries: Callable[[int], Awaitable[list[str]]], query: str = "") -> None:
        super().__init__(id="history-search")
        self._source = entries
        self._query = query
        self._entries: list[str] = []
        self._found: list[str] = []

    def compose(self) -> ComposeResult:
        """Lay out the search and what it finds."""
        with VerticalGroup(classes="dialog") as dialog:
            dialog.border_title = "Asked before"
            dialog.border_subtitle = "↑ ↓ choose · Enter takes it · Esc closes"
            yield Input(self._query, placeholder="Search what you asked", compact=True)
            found = OptionList(compact=True, markup=False)
            found.can_focus = False
            yield found

    def on_mount(self) -> None:
        """Read the history."""
        self.query_one(Input).focus()
        self.run_worker(self._read(), group="history", exclusive=True)

    async def _read(self) -> None:
        self._entries = await self._source(SEARCHED)
        self._show(self.query_one(Input).value)

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        self._show(event.value)

    def _show(self, query: str) -> None:
        self._found = matching(self._entries, query, _SHOWN)
        rows = self.query_one(OptionList)
        rows.clear_options()
        if self._found:
            rows.add_options([Option(_row(text, query.split())) for text in self._found])
            rows.highlighted = 0
        elif self._entries or query:
            rows.add_option(Option(Content("Nothing you asked is like that."), disabled=True))
        else:
            rows.add_option(Option(Content("Nothing was asked yet."), disabled=True))

    def action_move(self, step: int) -> None:
        """Move in the list; the search keeps the focus."""
        rows = self.query_one(OptionList)
        if self._found:
            at = (rows.highlighted or 0) + step
            rows.highlighted = min(max(at, 0), len(self._found) - 1)

    @on(Input.Submitted)
    def _taken(self) -> None:
        at = self.query_one(OptionList).highlighted
        if self._found and at is not None:
            self.dismiss(self._found[at])

    @on(OptionList.OptionSelected)
    def _clicked(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._found[event.option_index])

    def on_click(self, event: events.Click) -> None:
        """Keep clicks from what lies below."""
        event.stop()


def _row(text: str, words: Sequence[str]) -> Content:
    """Return an entry on one line, with what was searched for marked."""
    joined = " ⏎ ".join(line.strip() for line in visible(text).split("\n") if line.strip())
    line = visible_line(joined)
    lowered = line.lower()
    # A long entry begins shortly before the first hit, so that it can be seen.
    places = [at for word in words if (at := lowered.find(word.lower())) >= 0]
    if places and min(places) > 60:
        line = "…" + line[min(places) - 20 :]
    content = Content(line[:_LONGEST])
    lowered = content.plain.lower()
    for word in words:
        at = lowered.find(word.lower())
        if at >= 0:
            content = content.stylize("bold $accent", at, at + len(word))
    return content

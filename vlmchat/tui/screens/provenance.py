"""What produced a reply."""

from textual.containers import VerticalGroup
from textual.widget import Widget

from vlmchat.talk.turns.facts import facts
from vlmchat.talk.turns.tree import Turn
from vlmchat.tui.screens.pager import Pager, row_of


class ProvenancePager(Pager):
    """Shows it; the text can be selected."""

    def __init__(self, turn: Turn) -> None:
        super().__init__("What produced this answer")
        self._turn = turn

    def body(self) -> Widget:
        """Return one row a fact."""
        return VerticalGroup(*(row_of(name, value) for name, value in facts(self._turn)))

"""The tree of a conversation: all branches, and where the person is."""

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalGroup
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from vlmchat.talk.turns.outline import outline
from vlmchat.talk.turns.tree import Tree, Turn
from vlmchat.text import visible_line

_EXCERPT = 160


def line_of(turn: Turn, before: str, tree: Tree, on_path: bool) -> Content:
    """Return the line of one turn."""
    siblings = tree.siblings(turn)
    count = f"‹{siblings.index(turn) + 1}/{len(siblings)}› " if len(siblings) > 1 else ""
    who = "You" if turn.role == "user" else turn.role.capitalize()
    if turn.role == "assistant" and turn.author == "person":
        who = "Assistant (you)"
    pictures = f"▣{len(turn.media)} " if turn.media else ""
    text = visible_line(" ".join(turn.text.split())[:_EXCERPT]) or "(nothing)"
    rating = f" · {turn.rating}" if turn.rating else ""
    sign = "● " if on_path else "○ "
    return Content.assemble(
        (before + sign, "bold" if on_path else "dim"),
        (f"{count}{who}{rating}: ", "bold"),
        f"{pictures}{text}",
    )


class TreeScreen(ModalScreen[Turn | None]):
    """Shows all turns; returns the one that was chosen.

    Args:
        tree: the conversation.
        selected: the turn to begin at; the tip by default.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,t", "dismiss(None)", "Close")]
    DEFAULT_CSS = """
    TreeScreen OptionList {
        height: 1fr;
        text-wrap: nowrap;
        text-overflow: ellipsis;
    }
    """

    def __init__(self, tree: Tree, selected: Turn | None) -> None:
        super().__init__(id="tree")
        self._tree = tree
        self._selected = selected or tree.tip
        self._turns = list(outline(tree))

    def compose(self) -> ComposeResult:
        """Lay out the lines."""
        path = set(map(id, self._tree.path))
        options = [
            Option(line_of(turn, before, self._tree, id(turn) in path))
            for turn, before in self._turns
        ]
        with VerticalGroup(classes="dialog") as dialog:
            dialog.border_title = "Branches"
            dialog.border_subtitle = "● where you are · Enter goes there · Esc closes"
            yield OptionList(*options)

    def on_mount(self) -> None:
        """Begin at the present turn."""
        turns = [turn for turn, _ in self._turns]
        lines = self.query_one(OptionList)
        lines.focus()
        if self._selected in turns:
            lines.highlighted = turns.index(self._selected)
            lines.scroll_to_highlight()

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._turns[event.option_index][0])

"""How an evaluation stands, and its report."""

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from vlmchat.talk.evaluating import Evaluating
from vlmchat.text import visible
from vlmchat.tui.screens.pager import Pager


class Evaluation(Pager):
    """Shows an evaluation while it goes on; closing this does not end it.

    Args:
        evaluating: that is shown.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("x", "end", "End it")]

    def __init__(self, evaluating: Evaluating) -> None:
        super().__init__("Evaluation")
        self._evaluating = evaluating
        self._body = Static()

    def body(self) -> Widget:
        """Return the widget with the text."""
        return self._body

    def on_mount(self) -> None:
        """Show how it stands, now and whenever that changes."""
        super().on_mount()
        self._evaluating.changed = self._show
        self._show()

    def on_unmount(self) -> None:
        """Show nothing any more."""
        self._evaluating.changed = lambda: None

    def _show(self) -> None:
        lines = self._evaluating.lines()
        if self._evaluating.active:
            lines += ["", "x ends it. Esc closes this, and it goes on; /eval shows it again."]
        self._body.update(Content(visible("\n".join(lines))))

    def action_end(self) -> None:
        """End the evaluation after the answer that is under way."""
        self._evaluating.stop()
        self._show()

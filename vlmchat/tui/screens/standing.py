"""How long work beside the chat stands, and what has come of it."""

from collections.abc import Callable
from typing import ClassVar, Protocol

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from vlmchat.text import visible
from vlmchat.tui.screens.pager import Pager


class Telling(Protocol):
    """Long work that says in lines how it stands; see `vlmchat.talk.longer.LongWork`.

    Attributes:
        changed: told when there is something new to show.
    """

    @property
    def active(self) -> bool:
        """Whether it is under way."""

    def lines(self) -> list[str]:
        """Return how it stands, and what has come of it."""

    def stop(self) -> bool:
        """End it after the piece that is under way; false when there is none."""

    changed: Callable[[], None]


class Standing(Pager):
    """Shows long work while it goes on; closing this does not end it.

    Args:
        title: of the screen.
        work: that is shown.
        command: that shows it again.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("x", "end", "End it")]

    def __init__(self, title: str, work: Telling, command: str) -> None:
        super().__init__(title)
        self._work, self._command = work, command
        self._body = Static()

    def body(self) -> Widget:
        """Return the widget with the text."""
        return self._body

    def on_mount(self) -> None:
        """Show how it stands, now and whenever that changes."""
        super().on_mount()
        self._work.changed = self._show
        self._show()

    def on_unmount(self) -> None:
        """Show nothing any more."""
        self._work.changed = lambda: None

    def _show(self) -> None:
        lines = self._work.lines()
        if self._work.active:
            lines += ["", f"x ends it. Esc closes this, and it goes on; {self._command} shows it."]
        self._body.update(Content(visible("\n".join(lines))))

    def action_end(self) -> None:
        """End it after the piece that is under way."""
        self._work.stop()
        self._show()

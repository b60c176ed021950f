"""Texts that open over the chat: the engine's log, and the help."""

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import HorizontalGroup, VerticalGroup, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Static

from vlmchat.text import visible
from vlmchat.tui.bindings import help_rows
from vlmchat.tui.key_names import keys_title

_KEYS = (
    ("Enter", "Send (or a new line, by the setting ui.enter)"),
    ("Ctrl+S", "Send, whatever Enter does"),
    ("Ctrl+J", "New line; Shift+Enter too where the terminal tells it apart"),
    ("Backspace", "In the empty composer: remove the last attachment"),
    ("Up, Down", "In the first and last line: walk through what you asked before"),
    ("Up", "In the empty composer: take the last queued question back, if there is one"),
    ("Tab", "Complete a command or its argument"),
    ("Ctrl+V", "Paste from the desktop's clipboard: a picture, files or text"),
    ("PageUp, PageDown", "Scroll the conversation"),
    ("Ctrl+C", "Copy the selected text; with none selected, stop the answer"),
)


class Pager(ModalScreen[None]):
    """A text to read and close.

    Args:
        title: what it is.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,f1,f2,i", "dismiss", "Close"),
    ]

    def __init__(self, title: str) -> None:
        super().__init__(classes="pager")
        self._title = title

    def body(self) -> Widget:
        """Return the widget with the text."""
        raise NotImplementedError

    def compose(self) -> ComposeResult:
        """Lay out the frame around the text."""
        with VerticalGroup(classes="dialog") as dialog:
            dialog.border_title = self._title
            dialog.border_subtitle = "Esc closes"
            with VerticalScroll(classes="pager-body"):
                yield self.body()

    def on_mount(self) -> None:
        """Let the arrow keys scroll."""
        self.query_one(VerticalScroll).focus()


class LogPager(Pager):
    """The end of a log (untrusted text)."""

    def __init__(self, text: str, title: str = "Engine log") -> None:
        super().__init__(title)
        self._text = text

    def body(self) -> Widget:
        """Return the lines as they are, or a sentence when there are none."""
        return Static(Content(visible(self._text).strip() or "The log is empty."))

    def on_mount(self) -> None:
        """Begin at the end, where the reason stands."""
        self.query_one(VerticalScroll).scroll_end(animate=False)


class HelpPager(Pager):
    """Keys and commands.

    Args:
        keys: the keys of each command, by its name.
    """

    def __init__(
        self, keys: Mapping[str, Sequence[str]], barred: Mapping[str, str] | None = None
    ) -> None:
        super().__init__("vlmchat help")
        self._keys = keys
        self._barred = barred or {}

    def body(self) -> Widget:
        """Return the help made from the registry."""
        return VerticalGroup(
            Static("Keys", classes="help-title"),
            *(row_of(key, what) for key, what in self._fixed_keys()),
            Static("Commands", classes="help-title"),
            *(row_of(*row) for row in help_rows(self._keys, self._barred)),
        )

    def _fixed_keys(self) -> Iterator[tuple[str, str]]:
        yield from _KEYS
        if palette := keys_title(self._keys.get("palette", ())):
            yield palette, "Find a command"


def row_of(left: str, right: str, barred: str = "") -> Widget:
    """Return a row of a name and what it stands for, none of it markup.

    Args:
        left: the name.
        right: what it stands for.
        barred: why it cannot be used, which greys it; empty when it can.
    """
    return HorizontalGroup(
        Static(left, classes="help-left", markup=False),
        Static(barred or right, classes="help-right", markup=False),
        classes="help-row -barred" if barred else "help-row",
    )

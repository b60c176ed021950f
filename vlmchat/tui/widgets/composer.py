"""Where the person writes."""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import TextArea

from vlmchat.text import visible

_NEWLINE_KEYS = frozenset({"ctrl+j", "shift+enter", "alt+enter"})
PLACEHOLDER = "Ask something. Enter sends, Ctrl+J starts a new line."


class Composer(TextArea):
    """A text area that grows with its text, sends on Enter and knows pasted files.

    Args:
        files_in: returns the files a pasted text consists of; empty when it is only text.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("pageup", "screen.page(-1)", "Scroll up", show=False),
        Binding("pagedown", "screen.page(1)", "Scroll down", show=False),
        Binding("alt+up", "screen.step_turn(-1)", "Go to the turns", show=False),
    ]

    class Submitted(Message):
        """The person sends the text."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class FilesPasted(Message):
        """Files were pasted or dropped."""

        def __init__(self, paths: list[Path]) -> None:
            super().__init__()
            self.paths = paths

    class ReachedBack(Message):
        """A key asks for what lies before the empty composer.

        Attributes:
            key: ``backspace`` for the last attachment, ``up`` for the last queued question.
        """

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    def __init__(self, files_in: Callable[[str], list[Path]]) -> None:
        super().__init__(
            id="composer",
            compact=True,
            highlight_cursor_line=False,
            placeholder=PLACEHOLDER,
        )
        self._files_in = files_in
        self.enter_sends = True

    def get_line(self, line_index: int) -> Text:
        """Return a line as it is drawn: control characters as signs, one for one."""
        line = self.document.get_line(line_index)
        if visible(line) == line:
            return super().get_line(line_index)
        signs = (visible(char) for char in line)
        # The cursor counts characters: signs that need several become one.
        return Text("".join(sign if len(sign) == 1 else "\ufffd" for sign in signs), end="")

    def clear_draft(self) -> None:
        """Empty the composer."""
        self.load_text("")

    def prepend(self, text: str) -> None:
        """Put `text` before what is written, on its own lines."""
        draft = self.text
        self.load_text(f"{text}\n{draft}" if draft else text)
        self.move_cursor(self.document.end)

    def on_key(self, event: events.Key) -> None:
        """Send, break the line, or reach back."""
        sends = event.key == "ctrl+s" or (event.key == "enter" and self.enter_sends)
        if sends:
            self.post_message(self.Submitted(self.text))
        elif event.key in _NEWLINE_KEYS or event.key == "enter":
            self.insert("\n")
        elif event.key in ("backspace", "up") and not self.text:
            self.post_message(self.ReachedBack(event.key))
        else:
            return
        event.prevent_default()
        event.stop()

    def on_paste(self, event: events.Paste) -> None:
        """Turn pasted files into attachments; leave other text to the text area."""
        if paths := self._files_in(event.text):
            event.prevent_default()
            event.stop()
            self.post_message(self.FilesPasted(paths))

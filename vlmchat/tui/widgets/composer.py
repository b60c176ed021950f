"""Where the person writes."""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import TextArea

from vlmchat.talk.history import WALKED, AskedBefore, Remembered, Walk, gather
from vlmchat.text import visible
from vlmchat.tui.widgets.completion import CompletionPopup

_NEWLINE_KEYS = frozenset({"ctrl+j", "shift+enter", "alt+enter"})
_PLACEHOLDERS = {
    True: "Ask something. Enter sends, Ctrl+J starts a new line.",
    False: "Ask something. Ctrl+S sends, Enter starts a new line.",
}


class Composer(TextArea):
    """A text area that grows with its text, sends on Enter and knows pasted files.

    Args:
        files_in: returns the files a pasted text consists of; empty when it is only text.
        popup: shows how a command line can go on; none without it.
        refusal: says why a text cannot be sent; empty when it can be.

    Attributes:
        remembered: what was sent since the program began.
        asked_before: what was asked at other times too, if it is saved.
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

    class Refused(Message):
        """The person sent a text that cannot be sent; it stays.

        Attributes:
            why: one sentence.
        """

        def __init__(self, why: str) -> None:
            super().__init__()
            self.why = why

    class FilesPasted(Message):
        """Files were pasted or dropped."""

        def __init__(self, paths: list[Path]) -> None:
            super().__init__()
            self.paths = paths

    class ReachedBack(Message):
        """A key asks for what lies before the empty composer.

        Attributes:
            key: ``backspace`` for the last attachment, ``up`` for the last queued question or,
                when none is queued, for what was asked before (`Composer.walk`).
        """

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    class ClipboardAsked(Message):
        """The clipboard is to be pasted, whatever it holds.

        Attributes:
            only_media: whether its text was pasted (and was empty) already.
        """

        def __init__(self, only_media: bool) -> None:
            super().__init__()
            self.only_media = only_media

    def __init__(
        self,
        files_in: Callable[[str], list[Path]],
        popup: CompletionPopup | None = None,
        refusal: Callable[[str], str] = lambda _: "",
    ) -> None:
        super().__init__(
            id="composer",
            compact=True,
            highlight_cursor_line=False,
            placeholder=_PLACEHOLDERS[True],
        )
        self._files_in = files_in
        self._popup = popup
        self._refusal = refusal
        self._enter_sends = True
        self.remembered = Remembered()
        self.asked_before: AskedBefore | None = None
        self._walk: Walk | None = None
        # What a walk put here, and where the cursor was put: as long as both are so, it goes on.
        self._walked_to: tuple[str, tuple[int, int]] | None = None
        self._steps = 0
        # A draft that came as a whole: nobody is typing a command.
        self._brought = ""

    @property
    def enter_sends(self) -> bool:
        """Whether Enter sends, or else starts a new line."""
        return self._enter_sends

    @enter_sends.setter
    def enter_sends(self, value: bool) -> None:
        self._enter_sends = value
        self.placeholder = _PLACEHOLDERS[value]

    def get_line(self, line_index: int) -> Text:
        """Return a line as it is drawn: control characters as signs, one for one."""
        line = self.document.get_line(line_index)
        if visible(line) == line:
            return super().get_line(line_index)
        signs = (visible(char) for char in line)
        # The cursor counts characters: signs that need several become one.
        return Text("".join(sign if len(sign) == 1 else "\ufffd" for sign in signs), end="")

    # The text as a whole -----------------------------------------------------------------------

    def clear_draft(self) -> None:
        """Empty the composer."""
        self.set_draft("")

    def set_draft(self, text: str) -> None:
        """Make `text` the draft, as of another conversation: there is nothing to undo."""
        self._load(text)
        self._brought = text

    def replace_draft(self, text: str) -> None:
        """Put `text` in place of what is written; one undo brings that back."""
        self._end_walk()
        self._put(text)

    def prepend(self, text: str) -> None:
        """Put `text` before what is written, on its own lines."""
        draft = self.text
        self._load(f"{text}\n{draft}" if draft else text)

    def _load(self, text: str) -> None:
        self._end_walk()
        self.load_text(text)
        self.move_cursor(self.document.end)

    def _put(self, text: str) -> None:
        self.history.checkpoint()
        self.replace(text, (0, 0), self.document.end, maintain_selection_offset=False)
        self.history.checkpoint()
        self.move_cursor(self.document.end)

    # Keys --------------------------------------------------------------------------------------

    def on_key(self, event: events.Key) -> None:
        """Complete, send, break the line, walk through the history, or reach back."""
        if self._popup_takes(event.key) or self._takes(event.key):
            event.prevent_default()
            event.stop()

    def _takes(self, key: str) -> bool:
        if key == "ctrl+s" or (key == "enter" and self.enter_sends):
            text = self.text
            self.remembered.remember(text)
            if why := self._refusal(text):
                self.post_message(self.Refused(why))
                return True
            # At once: who types on before the message has arrived writes the next text.
            self.clear_draft()
            self.post_message(self.Submitted(text))
        elif key in _NEWLINE_KEYS or key == "enter":
            self.insert("\n")
        elif not self.text and (key == "backspace" or (key == "up" and not self._walking)):
            self.post_message(self.ReachedBack(key))
        elif key == "up" and (self._walking or self._on_first_row):
            return self.walk(1)
        elif key == "down" and (self._walking or (self._walk and self._on_last_row)):
            return self.walk(-1)
        else:
            return False
        return True

    @property
    def _on_first_row(self) -> bool:
        return self.selection.is_empty and self.navigator.is_first_wrapped_line(
            self.cursor_location
        )

    @property
    def _on_last_row(self) -> bool:
        return self.selection.is_empty and self.navigator.is_last_wrapped_line(self.cursor_location)

    # Completion --------------------------------------------------------------------------------

    def _popup_takes(self, key: str) -> bool:
        """Let the list have its keys; false when the key means what it always means."""
        popup = self._popup
        if popup is None or key not in ("up", "down", "tab", "enter", "escape"):
            return False
        # The event of the key before may still be on its way.
        self._look()
        if key == "tab":
            return self._tab(popup)
        if not popup.is_open and not popup.is_coming:
            return False
        if key == "escape":
            if not popup.is_open:
                return False
            popup.put_away()
        elif key in ("up", "down"):
            popup.move(1 if key == "down" else -1)
        elif not (popup.moved and self.enter_sends):
            popup.close()
            return False
        else:
            self._take(popup.accept())
        return True

    def _tab(self, popup: CompletionPopup) -> bool:
        line = self._command_line()
        if line is None:
            return False
        unseen = not popup.is_open and not popup.is_coming
        if unseen:
            self._brought = ""
            popup.look(line, again=True)
        self._take(popup.accept(only_sure=unseen))
        return True

    def _take(self, line: str | None) -> None:
        if line is not None and line != self.text:
            self._end_walk()
            self._put(line)
            self._look()

    def _command_line(self) -> str | None:
        """Return the command line with the cursor behind it, if that is what is written."""
        document = self.document
        if document.line_count != 1 or self.cursor_location != document.end:
            return None
        line = document.get_line(0)
        return line if line.startswith("/") and self.selection.is_empty else None

    def _look(self) -> None:
        if self._popup is None:
            return
        line = self._command_line()
        # A line out of the history is whole: the arrow keys go on through the history.
        if line is None or line == self._brought or self._walking or not self.has_focus:
            self._popup.close()
        else:
            self._popup.look(line)

    def on_text_area_changed(self) -> None:
        """Complete what is written now."""
        self._look()

    def on_text_area_selection_changed(self) -> None:
        """Complete only where the line ends."""
        self._look()

    def on_blur(self) -> None:
        """Leave no list over what has the focus."""
        if self._popup is not None:
            self._popup.close()

    def completion_chosen(self, line: str) -> None:
        """Write `line`, which was chosen in the list."""
        self._take(line)
        self.focus()

    # History -----------------------------------------------------------------------------------

    @property
    def _walking(self) -> bool:
        """Whether the composer is as the last step of a walk left it."""
        return self._walked_to == (self.text, self.cursor_location)

    def walk(self, step: int) -> bool:
        """Show what was asked before (1) or after (-1); false when there is nothing to show."""
        if self._walk is None:
            # Steps that come while the history is being read are taken when it is there.
            self._steps += step
            self.run_worker(self._begin_walk(self.text), group="walk", exclusive=True)
            return True
        text = self._walk.older(self.text) if step > 0 else self._walk.newer(self.text)
        if text is None:
            return self._walking
        self._put(text)
        self._walked_to = (self.text, self.cursor_location)
        if self._popup is not None:
            self._popup.close()
        return True

    async def _begin_walk(self, draft: str) -> None:
        entries = await gather(self.remembered, self.asked_before, WALKED)
        steps, self._steps = self._steps, 0
        if self.text != draft:
            return
        self._walk = Walk(draft, entries)
        moved = [self.walk(1) for _ in range(steps)]
        if steps > 0 and not any(moved):
            self._walk = None
            self.action_cursor_up()

    def _end_walk(self) -> None:
        self._walk = self._walked_to = None
        self._steps = 0

    # Pasting -----------------------------------------------------------------------------------

    def on_paste(self, event: events.Paste) -> None:
        """Turn pasted files into attachments; leave other text to the text area."""
        if not event.text:
            # Some terminals paste nothing when a picture is on the clipboard.
            self.post_message(self.ClipboardAsked(only_media=True))
        elif paths := self._files_in(event.text):
            self.post_message(self.FilesPasted(paths))
        else:
            return
        event.prevent_default()
        event.stop()

    def action_paste(self) -> None:
        """Paste what the desktop's clipboard holds (Ctrl+V)."""
        self.post_message(self.ClipboardAsked(only_media=False))

    def paste_text(self, text: str) -> None:
        """Insert `text` as if the terminal had pasted it."""
        if paths := self._files_in(text):
            self.post_message(self.FilesPasted(paths))
        elif text and (result := self._replace_via_keyboard(text, *self.selection)):
            self.move_cursor(result.end_location)

"""A question with a few answers, each with its key."""

from collections.abc import Mapping
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import HorizontalGroup, VerticalGroup
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Static


class Asking(ModalScreen[str]):
    """Returns the name of the answer; closing it gives the last one.

    Args:
        title: what it is about.
        question: one sentence, shown as it is.
        note: what else to know.
        answers: what each is called on its button; its first letter is its key.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Leave"),
        Binding("left,up", "app.focus_previous", show=False),
        Binding("right,down", "app.focus_next", show=False),
    ]
    DEFAULT_CSS = """
    Asking {
        .question-box {
            width: 90%;
            max-width: 76;
            height: auto;
            padding: 1 2 0 2;
            background: $surface;
            border: round $border;
            border-title-color: $primary;
            border-title-style: bold;
            border-subtitle-color: $muted;
        }
        Static { width: 100%; height: auto; margin-bottom: 1; }
        HorizontalGroup { align-horizontal: right; margin-bottom: 1; }
        Button { width: auto; min-width: 8; margin-left: 1; padding: 0 1; }
        .muted { color: $muted; }
    }
    """

    def __init__(self, title: str, question: str, note: str, answers: Mapping[str, str]) -> None:
        super().__init__(classes="asking")
        self._title, self._question, self._note = title, question, note
        self._answers = answers

    def compose(self) -> ComposeResult:
        """Lay out the question and the answers."""
        with VerticalGroup(classes="question-box") as dialog:
            dialog.border_title = Content(self._title)
            dialog.border_subtitle = f"Esc: {list(self._answers.values())[-1]}"
            yield Static(Content(self._question), markup=False)
            yield Static(Content(self._note), classes="muted", markup=False)
            with HorizontalGroup():
                for name, text in self._answers.items():
                    yield Button(Content(text), id=f"answer-{name}", compact=True)

    def on_mount(self) -> None:
        """Begin with the answer that does least."""
        self.query(Button).last().focus()

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss((event.button.id or "").removeprefix("answer-"))

    def on_key(self, event: events.Key) -> None:
        """Take the first letter of an answer for it."""
        for name, text in self._answers.items():
            if event.character and event.character.lower() == text[0].lower():
                event.stop()
                self.dismiss(name)
                return

    def action_leave(self) -> None:
        """Give the last answer."""
        self.dismiss(list(self._answers)[-1])

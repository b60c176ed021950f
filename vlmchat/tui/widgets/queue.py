"""Questions that wait: visible, editable, removable until they are sent."""

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import HorizontalGroup, VerticalScroll
from textual.message import Message
from textual.widgets import Static

from vlmchat.talk.question import Question
from vlmchat.text import visible_line


class QueueButton(Static):
    """A word to click."""

    class Pressed(Message):
        """The word was clicked."""

        def __init__(self, action: str) -> None:
            super().__init__()
            self.action = action

    def __init__(self, label: str, action: str) -> None:
        super().__init__(label, classes="queue-button", markup=False)
        self._action = action

    def on_click(self) -> None:
        """Tell the row."""
        self.post_message(self.Pressed(self._action))


class QueueRow(HorizontalGroup, can_focus=True):
    """One waiting question."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,e", "edit", "Edit", id="queue.edit"),
        Binding("delete,backspace", "remove", "Remove", id="queue.remove"),
    ]

    class Edited(Message):
        """The person wants the question back in the composer."""

        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

    class Removed(Message):
        """The person does not want to ask it any more."""

        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

    def __init__(self, question: Question) -> None:
        super().__init__(classes="queue-row")
        self.question = question

    def compose(self) -> ComposeResult:
        """Lay out state, text and the two things to do."""
        question = self.question
        pictures = f"▣{len(question.attached)} " if question.attached else ""
        yield Static("not sent" if question.held else "queued", classes="queue-state")
        yield Static(pictures + visible_line(question.text), classes="queue-text", markup=False)
        yield QueueButton("edit", "edit")
        yield QueueButton("remove", "remove")

    def on_queue_button_pressed(self, event: QueueButton.Pressed) -> None:
        """Do what was clicked."""
        event.stop()
        self.action_edit() if event.action == "edit" else self.action_remove()

    def on_click(self, event: events.Click) -> None:
        """Keep clicks on a row from reaching what lies under it."""
        event.stop()

    def action_edit(self) -> None:
        """Ask to be edited."""
        self.post_message(self.Edited(self.question.number))

    def action_remove(self) -> None:
        """Ask to be removed."""
        self.post_message(self.Removed(self.question.number))


class QueueList(VerticalScroll, can_focus=False):
    """All waiting questions; hidden while there are none."""

    def __init__(self) -> None:
        super().__init__(id="queue")
        self.display = False
        self._shown: list[tuple[int, bool]] = []

    def show(self, questions: list[Question]) -> None:
        """Draw these questions."""
        rows = [(question.number, question.held) for question in questions]
        if rows == self._shown:
            return
        self._shown = rows
        self.display = bool(questions)
        self.remove_children()
        self.mount_all(QueueRow(question) for question in questions)

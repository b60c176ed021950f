"""The turns of a conversation: one widget each; nothing said ever passes through markup."""

from collections.abc import Callable, Iterable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalGroup
from textual.content import Content
from textual.widgets import Static

from vlmchat.talk.question import NoticeKind
from vlmchat.talk.turns.tree import Turn
from vlmchat.text import visible, visible_line
from vlmchat.tui.bindings import turn_bindings
from vlmchat.tui.widgets.answer import LONG, Answer, AnswerText, AnswerView, Footnote
from vlmchat.tui.widgets.picture import PictureFlow
from vlmchat.tui.widgets.transcript import Item, Transcript


class TurnView(VerticalGroup, can_focus=True):
    """One turn; the keys of what can be done with it work while it has the focus.

    Args:
        turn: what it shows.
        place: returns its place among its siblings, from 1, and how many there are.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        *turn_bindings(),
        Binding("escape", "screen.compose_on", "Write", show=False),
        Binding("up,alt+up", "screen.step_turn(-1)", "Previous turn", show=False),
        Binding("down,alt+down", "screen.step_turn(1)", "Next turn", show=False),
        Binding("home", "screen.end_turn(0)", "First turn", show=False),
        Binding("end", "screen.end_turn(-1)", "Last turn", show=False),
    ]

    def __init__(self, turn: Turn, place: Callable[[Turn], tuple[int, int]], classes: str) -> None:
        super().__init__(classes=f"turn {classes}")
        self.turn = turn
        self._place = place

    @property
    def speaker(self) -> str:
        """Who speaks, in a word."""
        raise NotImplementedError

    def head(self) -> str:
        """Return the label: who speaks, which of how many siblings, what is thought of it."""
        number, count = self._place(self.turn)
        parts = [self.speaker]
        if count > 1:
            parts.append(f"‹{number}/{count}›")
        if self.turn.rating:
            parts.append(f"· rated {self.turn.rating}")
        if any(label.kind == "better" for label in self.turn.labels):
            parts.append("· the better one")
        return " ".join(parts)

    def draw_head(self) -> None:
        """Draw the label anew."""
        label = self.query_one(".turn-label", Static)
        if str(label.content) != self.head():
            label.update(Content(self.head()))


class QuestionTurn(TurnView):
    """What the person said."""

    def __init__(self, turn: Turn, place: Callable[[Turn], tuple[int, int]]) -> None:
        super().__init__(turn, place, "question")

    @property
    def speaker(self) -> str:
        """The person; or the system, in a conversation that came from elsewhere."""
        return "System" if self.turn.role == "system" else "You"

    def compose(self) -> ComposeResult:
        """Lay out label, pictures, videos and text."""
        yield Static(Content(self.head()), classes="turn-label")
        if self.turn.attachments:
            yield PictureFlow(self.turn.attachments)
        if self.turn.text.strip():
            yield Static(Content(visible(self.turn.text)), classes="turn-text")


class AnswerTurn(TurnView):
    """What the model says, or the person in its place.

    Args:
        answer: the text.
        place: as in `TurnView`.
    """

    def __init__(self, answer: Answer, place: Callable[[Turn], tuple[int, int]]) -> None:
        super().__init__(answer.turn, place, "answer")
        self._answer = answer
        self._text = AnswerText(answer)

    @property
    def speaker(self) -> str:
        """The model's name, or the person's part in its place."""
        if self.turn.reply is None:
            return "Assistant"
        return visible_line(self.turn.reply.speaker)

    def compose(self) -> ComposeResult:
        """Lay out label, text and the line of figures."""
        yield Static(Content(self.head()), classes="turn-label")
        if self.turn.state == "waiting" and not self.turn.text:
            yield Static("…", classes="turn-waiting")
        yield self._text
        yield Footnote(self._answer)

    @property
    def width(self) -> int:
        """Columns that the text has."""
        return self._text.size.width

    async def draw_text(self) -> None:
        """Draw the text as it stands."""
        if self.is_mounted:
            await self.query(".turn-waiting").remove()
            self._text.draw()
            for footnote in self.query(Footnote):  # none while the program is being closed
                footnote.draw()


class Notice(VerticalGroup):
    """One sentence from the program itself."""

    def __init__(self, text: str, kind: NoticeKind) -> None:
        super().__init__(classes=f"turn notice {kind}")
        self._kind = kind
        self._text = text

    def compose(self) -> ComposeResult:
        """Lay out label and text."""
        yield Static("Error" if self._kind == "error" else "Note", classes="turn-label")
        yield Static(Content(visible(self._text)), classes="turn-text")


class SystemTurn(VerticalGroup):
    """The system prompt, where it was set."""

    def __init__(self, text: str) -> None:
        super().__init__(classes="turn system")
        self._text = text

    def compose(self) -> ComposeResult:
        """Lay out label and text."""
        yield Static("System", classes="turn-label")
        yield Static(Content(visible(self._text)), classes="turn-text")


Place = Callable[[Turn], tuple[int, int]]


def items_of(turns: Iterable[Turn], place: Place, growing: Callable[[Answer], None]) -> list[Item]:
    """Return what shows these turns.

    Args:
        turns: what is to be shown, oldest first.
        place: as in `TurnView`.
        growing: told of an answer that is still being said.
    """
    return [_item_of(turn, place, growing) for turn in turns]


def _item_of(turn: Turn, place: Place, growing: Callable[[Answer], None]) -> Item:
    text = turn.text
    breaks = text.count("\n")
    if turn.role != "assistant":
        size = (len(text), breaks + 3 * len(turn.media))
        return Item(lambda: QuestionTurn(turn, place), size, turn)
    size = (len(text), breaks)
    if turn.state not in ("waiting", "streaming") and len(text) < LONG:
        # Most answers are short: what is needed to draw them is made when they are drawn.
        return Item(lambda: AnswerTurn(Answer(turn), place), size, turn)
    answer = Answer(turn)
    if answer.growing:
        growing(answer)
    return Item(lambda: AnswerTurn(answer, place), size, turn, prepare=answer.prepare)


def view_of(transcript: Transcript, turn: Turn) -> AnswerView | None:
    """Return the widget that shows an answer in a transcript, if it exists just now."""
    widget = transcript.widget_of(turn)
    return widget if isinstance(widget, AnswerTurn) else None

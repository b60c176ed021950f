"""The turns of a conversation: one widget each; nothing said ever passes through markup."""

from collections.abc import Callable, Iterable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalGroup
from textual.content import Content
from textual.widgets import Static
from textual.widgets.markdown import (
    Markdown,
    MarkdownBlock,
    MarkdownFence,
    MarkdownStream,
    TableOfContentsType,
)

from vlmchat.chat.messages import Media
from vlmchat.text import visible, visible_line
from vlmchat.tui.commands import registry
from vlmchat.tui.question import NoticeKind
from vlmchat.tui.tree import Turn
from vlmchat.tui.widgets.chips import describe
from vlmchat.tui.widgets.fence import CodeFence

_SAFE_LINKS = ("http://", "https://")


class PieceReader:
    r"""Makes pieces of text safe to show as they arrive, line breaks split between two included."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> str:
        r"""Return what can be shown now; a final ``\r`` waits for its possible ``\n``."""
        text = self._held + piece
        self._held = "\r" if text.endswith("\r") else ""
        return visible(text.removesuffix(self._held) if self._held else text)


class MediaRow(VerticalGroup):
    """The pictures of one question."""

    def __init__(self, media: Iterable[Media]) -> None:
        super().__init__(classes="turn-media")
        self._media = tuple(media)

    def compose(self) -> ComposeResult:
        """Lay out one line a picture."""
        for item in self._media:
            yield Static(Content(f"▣ {describe(item)}"), classes="turn-picture")


class AnswerText(Markdown):
    """The answer as Markdown; a link opens on a click and only if it leads to the web."""

    def __init__(self) -> None:
        super().__init__(open_links=False, classes="turn-text")

    def get_block_class(self, block_name: str) -> type[MarkdownBlock]:
        """Return the widget for a kind of block."""
        block = super().get_block_class(block_name)
        return CodeFence if block is MarkdownFence else block

    @property
    def table_of_contents(self) -> TableOfContentsType:
        """Nothing: no one asks for it, and making it parses the text once more."""
        return []

    def on_markdown_link_clicked(self, event: Markdown.LinkClicked) -> None:
        """Open what a browser may open, and say what was not."""
        event.stop()
        href = visible_line(event.href)
        if event.href.lower().startswith(_SAFE_LINKS):
            self.app.open_url(event.href)
        else:
            self.notify(f"Not opened, as it is no web link: {href}", markup=False)


class TurnView(VerticalGroup, can_focus=True):
    """One turn; the keys of what can be done with it work while it has the focus.

    Args:
        turn: what it shows.
        place: returns its place among its siblings, from 1, and how many there are.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        *registry.turn_bindings(),
        Binding("escape", "screen.compose_on", "Write", show=False),
        Binding("up", "screen.step_turn(-1)", "Previous turn", show=False),
        Binding("down", "screen.step_turn(1)", "Next turn", show=False),
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
        """Lay out label, pictures and text."""
        yield Static(Content(self.head()), classes="turn-label")
        if self.turn.media:
            yield MediaRow(self.turn.media)
        if self.turn.text.strip():
            yield Static(Content(visible(self.turn.text)), classes="turn-text")


class AnswerTurn(TurnView):
    """What the model says, or the person in its place."""

    def __init__(self, turn: Turn, place: Callable[[Turn], tuple[int, int]]) -> None:
        super().__init__(turn, place, "answer")
        self._text = AnswerText()
        self._stream: MarkdownStream | None = None
        self._reader = PieceReader()
        self._shown = 0
        self._made = False

    @property
    def speaker(self) -> str:
        """The model's name, or the person's part in its place."""
        if self.turn.reply is None:
            return "Assistant"
        return visible_line(self.turn.reply.speaker)

    def compose(self) -> ComposeResult:
        """Lay out label, text and the line of figures."""
        yield Static(Content(self.head()), classes="turn-label")
        if self.turn.state == "waiting":
            yield Static("…", classes="turn-waiting")
        yield self._text
        yield Static(Content(self.turn.footnote()), classes="turn-footnote")

    async def on_mount(self) -> None:
        """Draw what there is of the text."""
        self._made = True
        if self.turn.state in ("waiting", "streaming"):
            await self.grow()
        else:
            self._text.display = bool(self.turn.text)
            await self._text.update(visible(self.turn.text))

    async def grow(self) -> None:
        """Draw what was added to the text, at the cost of the new text only."""
        text = self.turn.text
        if not self._made or len(text) == self._shown:
            return
        piece, self._shown = text[self._shown :], len(text)
        if self._stream is None:
            await self.query(".turn-waiting").remove()
            self._stream = Markdown.get_stream(self._text)
        await self._stream.write(self._reader.feed(piece))

    async def end(self) -> None:
        """Draw the whole text once more, as a full parse sees it, and the figures."""
        if self._stream is not None:
            await self._stream.stop()
            self._stream = None
            await self._text.update(visible(self.turn.text))
        await self.query(".turn-waiting").remove()
        self._text.display = bool(self.turn.text)
        self.query_one(".turn-footnote", Static).update(Content(self.turn.footnote()))


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

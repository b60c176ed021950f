"""The turns of a conversation: one widget each; nothing said ever passes through markup."""

from textual.app import ComposeResult
from textual.containers import VerticalGroup
from textual.content import Content
from textual.widgets import Static
from textual.widgets.markdown import Markdown, MarkdownStream

from vlmchat.text import visible, visible_line
from vlmchat.tui.turns import Exchange, NoticeKind, Question
from vlmchat.tui.widgets.picture import PictureFlow

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


class QuestionTurn(VerticalGroup):
    """What the person said."""

    def __init__(self, question: Question) -> None:
        super().__init__(classes="turn question")
        self._question = question

    def compose(self) -> ComposeResult:
        """Lay out label, pictures and text."""
        yield Static("You", classes="turn-label")
        if self._question.media:
            yield PictureFlow(self._question.media)
        if self._question.text.strip():
            yield Static(Content(visible(self._question.text)), classes="turn-text")


class AnswerText(Markdown):
    """The answer as Markdown; a link opens on a click and only if it leads to the web."""

    def __init__(self) -> None:
        super().__init__(open_links=False, classes="turn-text")

    def on_markdown_link_clicked(self, event: Markdown.LinkClicked) -> None:
        """Open what a browser may open, and say what was not."""
        event.stop()
        href = visible_line(event.href)
        if event.href.lower().startswith(_SAFE_LINKS):
            self.app.open_url(event.href)
        else:
            self.notify(f"Not opened, as it is no web link: {href}", markup=False)


class AnswerTurn(VerticalGroup):
    """What the model says."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(classes="turn answer")
        self.exchange = exchange
        self._text = AnswerText()
        self._stream: MarkdownStream | None = None
        self._reader = PieceReader()

    def compose(self) -> ComposeResult:
        """Lay out label, text and the line of figures."""
        yield Static(Content(visible_line(self.exchange.answer.speaker)), classes="turn-label")
        yield Static("…", classes="turn-waiting")
        yield self._text
        yield Static("", classes="turn-footnote", markup=False)

    async def grow(self, piece: str) -> None:
        """Add `piece` at the cost of the new text only."""
        if self._stream is None:
            self.query_one(".turn-waiting").display = False
            self._stream = Markdown.get_stream(self._text)
        await self._stream.write(self._reader.feed(piece))

    async def end(self) -> None:
        """Draw the whole text once more, as a full parse sees it, and the figures."""
        if self._stream is not None:
            await self._stream.stop()
            self._stream = None
            await self._text.update(visible(self.exchange.answer.text))
        self.query_one(".turn-waiting").display = False
        self._text.display = bool(self.exchange.answer.text)
        footnote = self.query_one(".turn-footnote", Static)
        footnote.update(self.exchange.answer.footnote())


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

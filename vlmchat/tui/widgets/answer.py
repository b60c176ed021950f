"""The text of an answer: Markdown in parts, drawn as it grows at the cost of the new text only."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Protocol

from textual.content import Content
from textual.widgets import Static
from textual.widgets.markdown import (
    Markdown,
    MarkdownBlock,
    MarkdownFence,
    TableOfContentsType,
)

from vlmchat.talk.turns.tree import Turn
from vlmchat.text import visible, visible_line
from vlmchat.tui.markdown_parts import WHOLE, Parser, cut_of, split
from vlmchat.tui.widgets.fence import CodeFence

_SAFE_LINKS = ("http://", "https://")
# Text is drawn so often while it streams, and at most so large a share of the time goes into it.
_PAUSE = 0.04
_SHARE = 8.0


class PieceReader:
    r"""Makes pieces of text safe to show as they arrive, line breaks split between two included."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> str:
        r"""Return what can be shown now; a final ``\r`` waits for its possible ``\n``."""
        text = self._held + piece
        self._held = "\r" if text.endswith("\r") else ""
        return visible(text.removesuffix(self._held) if self._held else text)


class Answer:
    """An answer's text in parts.

    Attributes:
        turn: whose text it is.
        parts: the text as it is drawn, in order.
        growing: whether there will be more of it.
    """

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self.growing = turn.state in ("waiting", "streaming")
        self.references: Mapping[str, Any] = {}
        self.parts = [""]
        if not self.growing:
            self.settle()

    def settle(self) -> None:
        """Cut the finished text anew, as a parse of the whole sees it."""
        self.growing = False
        self.parts, self.references = split(visible(self.turn.text))

    def parser(self) -> Parser:
        """Return a parser that knows the link definitions of the whole text."""
        return Parser(self.references)


class AnswerText(Markdown):
    """One part of an answer; a link opens on a click and only if it leads to the web.

    Args:
        answer: the whole.
        part: which part, from 0.
    """

    def __init__(self, answer: Answer, part: int) -> None:
        super().__init__(open_links=False, classes="turn-text", parser_factory=answer.parser)
        self._answer = answer
        self._part = part
        self._drawn = ""

    def get_block_class(self, block_name: str) -> type[MarkdownBlock]:
        """Return the widget for a kind of block."""
        block = super().get_block_class(block_name)
        return CodeFence if block is MarkdownFence else block

    @property
    def table_of_contents(self) -> TableOfContentsType:
        """Nothing: no one asks for it."""
        return []

    async def draw(self) -> None:
        """Draw the part as it stands: what was added to it while it grows, else the whole."""
        text = self._answer.parts[self._part] if self._part < len(self._answer.parts) else ""
        self.display = bool(text)
        if text == self._drawn and not self._answer.references:
            return
        # Appending to what `update` drew comes out wrong: growing text is only ever appended.
        last = self._part == len(self._answer.parts) - 1
        if self._answer.growing and last and text.startswith(self._drawn):
            piece, self._drawn = text[len(self._drawn) :], text
            await self.append(piece)
        else:
            self._drawn = text
            await self.update(text)

    async def redraw(self) -> None:
        """Draw the whole part by a full parse."""
        self._drawn = self._answer.parts[self._part]
        self.display = bool(self._drawn)
        await self.update(self._drawn)

    def on_markdown_link_clicked(self, event: Markdown.LinkClicked) -> None:
        """Open what a browser may open, and say what was not."""
        event.stop()
        href = visible_line(event.href)
        if event.href.lower().startswith(_SAFE_LINKS):
            self.app.open_url(event.href)
        else:
            self.notify(f"Not opened, as it is no web link: {href}", markup=False)


class Footnote(Static):
    """The line of figures under the last part of an answer.

    Args:
        answer: the whole.
        part: under which part it stands.
    """

    def __init__(self, answer: Answer, part: int) -> None:
        super().__init__(classes="turn-footnote", markup=False)
        self._answer = answer
        self._part = part

    def on_mount(self) -> None:
        """Draw what there is."""
        self.draw()

    def draw(self) -> None:
        """Draw the figures, if this is the last part."""
        last = self._part == len(self._answer.parts) - 1
        text = self._answer.turn.footnote() if last and not self._answer.growing else ""
        self.display = last
        self.update(Content(text))


class PartView(Protocol):
    """A widget that shows one part of an answer."""

    async def draw_part(self, whole: bool = False) -> None:
        """Draw the part as it stands, by a parse of all of it if asked to."""


class Parts(Protocol):
    """Where the parts of an answer are shown."""

    def part(self, number: int) -> PartView | None:
        """Return the widget of a part, if it exists just now."""

    async def set_parts(self) -> None:
        """Have places for the parts there are."""


class AnswerFlow:
    """Draws an answer while it grows.

    Args:
        answer: its text.
        places: where its parts are shown.
    """

    def __init__(self, answer: Answer, places: Parts) -> None:
        self._answer = answer
        self._places = places
        self._reader = PieceReader()
        self._read = 0
        self._checked = 0
        self._more = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    def grow(self) -> None:
        """Note that there is more text; it is drawn soon."""
        self._more.set()

    async def _run(self) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            began = time.perf_counter()
            await asyncio.shield(self._draw())
            await asyncio.sleep(max(_PAUSE, _SHARE * (time.perf_counter() - began)))

    async def _draw(self) -> None:
        text = self._answer.turn.text
        piece, self._read = text[self._read :], len(text)
        parts = self._answer.parts
        parts[-1] += self._reader.feed(piece)
        last = len(parts) - 1
        if view := self._places.part(last):
            await view.draw_part()
        if len(parts[-1]) > max(WHOLE, self._checked + WHOLE // 4):
            self._checked = len(parts[-1])
            if cut := cut_of(parts[-1]):
                self._checked = 0
                parts[-1:] = [parts[-1][:cut], parts[-1][cut:]]
                if view := self._places.part(last):
                    await view.draw_part(whole=True)
                await self._places.set_parts()

    def cancel(self) -> None:
        """Draw nothing any more."""
        self._task.cancel()

    async def end(self) -> None:
        """Draw the whole text once more, as a full parse sees it, and the figures."""
        self._task.cancel()
        await asyncio.wait((self._task,))
        before = list(self._answer.parts)
        self._answer.settle()
        after = self._answer.parts
        await self._places.set_parts()
        for number in range(len(after)):
            same = number < len(before) - 1 and before[number] == after[number]
            if view := self._places.part(number):
                await view.draw_part(whole=not same or bool(self._answer.references))

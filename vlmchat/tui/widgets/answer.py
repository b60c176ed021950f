"""The text of an answer: Markdown drawn as it grows at the cost of the new text only."""

import asyncio
import time
from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate
from typing import ClassVar, Protocol

from rich.segment import Segment
from textual.app import RenderResult
from textual.content import Content
from textual.geometry import Size
from textual.selection import Selection
from textual.strip import Strip
from textual.style import Style
from textual.widget import Widget
from textual.widgets import Static

from vlmchat.talk.turns.tree import Turn
from vlmchat.text import visible, visible_line
from vlmchat.tui.markdown.growing import Growing, whole
from vlmchat.tui.markdown.rows import Block, Row

_SAFE_LINKS = ("http://", "https://")
# Text is drawn so often while it streams, and at most so large a share of the time goes into it.
_PAUSE = 0.04
_SHARE = 8.0
# Characters in one pause above which nobody reads along: every painting may take longer to come.
_MUCH = 40
# Characters: a text of more is parsed and laid out aside, or the screen would stand still.
LONG = 6_000


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
    """An answer's text as it is drawn.

    Attributes:
        turn: whose text it is.
        growing: whether there will be more of it.
    """

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self.growing = turn.state in ("waiting", "streaming")
        self._reader = PieceReader()
        self._read = 0
        self._so_far = Growing()
        self._settled: list[Block] | None = None

    @property
    def blocks(self) -> list[Block]:
        """What is drawn."""
        if self.growing:
            return self._so_far.blocks
        if self._settled is None:
            self._settled = whole(visible(self.turn.text))
        return self._settled

    def grow(self) -> None:
        """Take up what was added to the turn's text."""
        piece, self._read = self.turn.text[self._read :], len(self.turn.text)
        if piece:
            self._so_far.append(self._reader.feed(piece))

    def prepare(self, width: int) -> None:
        """Do what drawing needs at a width; may be called in another thread."""
        for block in self.blocks:
            block.rows(width)

    async def settle(self, width: int) -> None:
        """Parse the finished text as a whole."""
        text = visible(self.turn.text)
        parsed = await asyncio.to_thread(whole, text) if len(text) > LONG else whole(text)
        if len(text) > LONG:
            await asyncio.to_thread(lambda: [block.rows(width) for block in parsed])
        self._settled = parsed
        self.growing = False


class AnswerText(Widget):
    """An answer's text; a link opens on a click and only if it leads to the web.

    Every row is drawn when it comes into sight. Textual's own ``Markdown`` has widgets for each
    paragraph, item and mark, which cost more than all else when they are made.

    Args:
        answer: what is drawn.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "em",
        "strong",
        "s",
        "code_inline",
        "fence",
        "heading",
        "link",
        "marker",
        "quote",
        "rule",
        "table-head",
    }

    def __init__(self, answer: Answer) -> None:
        super().__init__(classes="turn-text")
        self._answer = answer
        self._blocks: list[Block] = []
        self._width = -1
        self._ends: list[int] = []  # rows up to the end of each block
        self._lines: list[int] = []  # logical lines before each block
        self._drawn: dict[tuple[Block, int], Strip] = {}

    def render(self) -> RenderResult:
        """Return nothing: it is drawn row by row."""
        return ""

    def draw(self) -> None:
        """Draw what the answer is now."""
        self._width = -1
        kept = set(self._answer.blocks)
        self._drawn = {at: strip for at, strip in self._drawn.items() if at[0] in kept}
        self.refresh(layout=True)

    def _lay_out(self, width: int) -> None:
        if width == self._width:
            return
        if self._width >= 0:
            self._drawn.clear()
        self._width = width
        self._blocks = self._answer.blocks
        self._ends = list(accumulate(len(block.rows(width)) for block in self._blocks))
        counts = (len(block.lines) for block in self._blocks)
        self._lines = list(accumulate(counts, initial=0))

    def get_content_width(self, container: Size, viewport: Size) -> int:
        """Return the width there is."""
        return container.width

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Return how many rows the text takes."""
        self._lay_out(width)
        return self._ends[-1] if self._ends else 0

    @property
    def plain(self) -> str:
        """The logical lines as they are drawn."""
        self._lay_out(self.size.width)
        return "\n".join(line for block in self._blocks for line in block.lines)

    # Drawing ----------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """Return one row."""
        width = self.size.width
        self._lay_out(width)
        index = bisect_right(self._ends, y)
        if index >= len(self._blocks):
            return Strip.blank(width, self.visual_style.rich_style)
        block = self._blocks[index]
        at = y - (self._ends[index - 1] if index else 0)
        if (drawn := self._drawn.get((block, at))) is None:
            drawn = self._strip(block.rows(width)[at], self._lines[index], width)
            self._drawn[block, at] = drawn
        return drawn

    def _strip(self, row: Row, before: int, width: int) -> Strip:
        # Not `partial`, which loses an opaque background.
        ground = self.get_visual_style(row.ground) if row.ground else self.visual_style
        text = row.text
        line = before + row.line
        selection = self.text_selection
        if selection is not None and (span := selection.get_span(line)) is not None:
            start, end = span
            end = len(text) if end < 0 else end - row.x
            chosen = self.screen.get_visual_style("screen--selection")
            text = text.stylize(chosen, max(0, start - row.x), max(0, end))
        lead = Strip(self._segments(row.lead, ground)) if row.lead else Strip([])
        strip = Strip(self._segments(text, ground)).apply_offsets(row.x, line)
        return Strip.join([lead, strip]).adjust_cell_length(width, ground.rich_style)

    def _segments(self, text: Content, base: Style) -> list[Segment]:
        return [
            Segment(piece, (base + style).rich_style)
            for piece, style in text.render(base, end="", parse_style=self._style)
        ]

    def _style(self, style: str | Style) -> Style:
        if isinstance(style, Style):
            return style
        if style.startswith("."):
            return self.get_visual_style(style[1:], partial=True)
        return self.app.stylesheet.parse_style(style)

    def notify_style_update(self) -> None:
        """Draw anew with other colours."""
        self._drawn.clear()
        super().notify_style_update()

    # Selecting --------------------------------------------------------------------------------

    def selection_updated(self, selection: Selection | None) -> None:
        """Draw what is selected so."""
        self._drawn.clear()
        self.refresh()

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """Return what is selected, as logical lines: breaks made by the width are left out."""
        return selection.extract(self.plain), "\n"

    def action_link(self, href: str) -> None:
        """Open what a browser may open, and say what was not."""
        if href.lower().startswith(_SAFE_LINKS):
            self.app.open_url(href)
        else:
            shown = visible_line(href)
            self.notify(f"Not opened, as it is no web link: {shown}", markup=False)


class Footnote(Static):
    """The line of figures under an answer.

    Args:
        answer: what was said.
    """

    def __init__(self, answer: Answer) -> None:
        super().__init__(classes="turn-footnote", markup=False)
        self._answer = answer

    def on_mount(self) -> None:
        """Draw what there is."""
        self.draw()

    def draw(self) -> None:
        """Draw the figures."""
        text = "" if self._answer.growing else self._answer.turn.footnote()
        self.update(Content(text))


class AnswerView(Protocol):
    """A widget that shows an answer."""

    @property
    def width(self) -> int:
        """Columns that the text has."""

    async def draw_text(self) -> None:
        """Draw the text as it stands."""


class AnswerFlow:
    """Draws an answer while it grows.

    Args:
        answer: its text.
        view: returns what shows it, if that exists just now.
    """

    def __init__(self, answer: Answer, view: Callable[[], AnswerView | None]) -> None:
        self._answer = answer
        self._view = view
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
            before = len(self._answer.turn.text)
            await asyncio.shield(self._draw())
            spent = time.perf_counter() - began
            await asyncio.sleep(max(_PAUSE, _SHARE * spent))
            if len(self._answer.turn.text) - before > _MUCH:
                await asyncio.sleep(_PAUSE)

    async def _draw(self) -> None:
        self._answer.grow()
        if view := self._view():
            await view.draw_text()

    def cancel(self) -> None:
        """Draw nothing any more."""
        self._task.cancel()

    async def end(self) -> None:
        """Draw the whole text once more, as a full parse sees it, and the figures."""
        self._task.cancel()
        await asyncio.wait((self._task,))
        view = self._view()
        await self._answer.settle(view.width if view else 80)
        if view := self._view():
            await view.draw_text()

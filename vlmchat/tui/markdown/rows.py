"""What is drawn: blocks of logical lines, laid out into rows of a given width."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from textual.content import Content

_NARROWEST = 8  # columns of text that are kept, however deep a list is


@dataclass(frozen=True, slots=True)
class Row:
    """One row of cells.

    Attributes:
        lead: what stands before the text and is no part of it.
        text: the text in this row.
        x: where `text` begins in its logical line, characters.
        line: which logical line of the block it belongs to.
        ground: component class of the row's ground, or nothing.
    """

    lead: Content
    text: Content
    x: int
    line: int
    ground: str = ""


class Block:
    """Something drawn on rows of its own; remembers them for one width."""

    def __init__(self) -> None:
        self._width = -1
        self._rows: list[Row] = []
        self._lines: list[str] = []

    def rows(self, width: int) -> list[Row]:
        """Return the block's rows for a width in cells."""
        if width != self._width:
            self._rows, self._lines = self.lay_out(width)
            self._width = width
        return self._rows

    @property
    def lines(self) -> list[str]:
        """The logical lines as they were laid out last: what is copied from the block."""
        return self._lines

    def lay_out(self, width: int) -> tuple[list[Row], list[str]]:
        """Return rows and logical lines for a width."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Margin:
    """What stands to the left of a block.

    Attributes:
        first: before its first row; it is copied with the text.
        rest: before all further rows, as wide as `first`.
    """

    first: Content = field(default_factory=Content)
    rest: Content = field(default_factory=Content)

    def then(self, inner: "Margin") -> "Margin":
        """Return this margin with another one to the right of it."""
        return Margin(self.first + inner.first, self.rest + inner.rest)

    @property
    def further(self) -> "Margin":
        """The margin of what follows the first row."""
        return Margin(self.rest, self.rest)


def _wrapped(line: Content, width: int) -> list[tuple[int, Content]]:
    """Return where each row of a line begins in it, and the row."""
    if line.cell_length <= width:
        return [(0, line)]
    found, at, plain = [], 0, line.plain
    for piece in line.wrap(width):
        at = plain.index(piece.plain, at)
        found.append((at, piece))
        at += len(piece.plain)
    return found


class Lines(Block):
    """Lines of text, wrapped where they are too long.

    Args:
        lines: without line breaks.
        margin: what stands to the left.
        ground: component class of the ground behind the text, or nothing.
    """

    def __init__(self, lines: Sequence[Content], margin: Margin, ground: str = "") -> None:
        super().__init__()
        self._content = [line.expand_tabs(4) for line in lines]
        self._margin = margin
        self._ground = ground

    def lay_out(self, width: int) -> tuple[list[Row], list[str]]:
        """Return rows and logical lines for a width."""
        margin = self._margin
        room = max(width - margin.rest.cell_length, _NARROWEST)
        rows: list[Row] = []
        for number, line in enumerate(self._content):
            head, lead = (margin.first, Content()) if not number else (Content(), margin.rest)
            for index, (at, piece) in enumerate(_wrapped(line, room)):
                if index:
                    rows.append(Row(margin.rest, piece, len(head) + at, number, self._ground))
                else:
                    rows.append(Row(lead, head + piece, 0, number, self._ground))
        lines = [line.plain for line in self._content]
        return rows, [margin.first.plain + lines[0], *lines[1:]]


class Rule(Block):
    """A line across.

    Args:
        margin: what stands to the left.
    """

    def __init__(self, margin: Margin) -> None:
        super().__init__()
        self._margin = margin

    def lay_out(self, width: int) -> tuple[list[Row], list[str]]:
        """Return rows and logical lines for a width."""
        lead = self._margin.first
        line = Content("─" * max(1, width - lead.cell_length)).stylize(".rule")
        return [Row(lead, line, 0, 0)], ["---"]

"""Tables as rows of text: columns as wide as they need to be, or can be."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

from textual.content import Content

from vlmchat.tui.markdown.rows import Block, Lines, Margin, Row

Align: TypeAlias = Literal["left", "center", "right"]
_BETWEEN = " │ "
_CROSS = "─┼─"
_NARROWEST = 4  # cells of a column; with less to each, a table is told row by row


def shares(wanted: Sequence[int], room: int) -> list[int]:
    """Return how many cells each column gets: the widest give way first.

    Args:
        wanted: what each would take.
        room: what there is for all, at least one for each.
    """
    widths = list(wanted)
    while (over := sum(widths) - room) > 0:
        widest = max(widths)
        several = [index for index, width in enumerate(widths) if width == widest]
        below = max((width for width in widths if width < widest), default=1)
        less = max(1, min(widest - below, -(-over // len(several))))
        for index in several[: max(1, over)]:
            widths[index] = max(1, widths[index] - less)
        if widest == 1:
            break
    return widths


class Table(Block):
    """A table.

    Args:
        head: the cells of its first row.
        body: the cells of the others, as many in each.
        aligned: how each column stands.
        margin: what stands to the left.
    """

    def __init__(
        self,
        head: Sequence[Content],
        body: Sequence[Sequence[Content]],
        aligned: Sequence[Align],
        margin: Margin,
    ) -> None:
        super().__init__()
        self._head = [cell.stylize(".table-head") for cell in head]
        self._body = body
        self._aligned = aligned
        self._margin = margin

    def lay_out(self, width: int) -> tuple[list[Row], list[str]]:
        """Return rows and logical lines for a width; every row is a line of its own."""
        count = len(self._head)
        room = width - self._margin.rest.cell_length - len(_BETWEEN) * (count - 1)
        if room < _NARROWEST * count:
            return self._told(width)
        wanted = [
            max(1, *(cell.cell_length for cell in column))
            for column in zip(self._head, *self._body, strict=True)
        ]
        widths = shares(wanted, room)
        lines = self._row(self._head, widths)
        lines.append(Content(_CROSS.join("─" * width for width in widths)).stylize(".rule"))
        for cells in self._body:
            lines += self._row(cells, widths)
        rows = [
            Row(self._margin.rest if number else self._margin.first, line, 0, number)
            for number, line in enumerate(lines)
        ]
        return rows, [line.plain.rstrip() for line in lines]

    def _row(self, cells: Sequence[Content], widths: Sequence[int]) -> list[Content]:
        """Return the lines of one row of the table."""
        columns = [
            cell.wrap(width) if cell.cell_length > width else [cell]
            for cell, width in zip(cells, widths, strict=True)
        ]
        between = Content(_BETWEEN).stylize(".rule")
        lines = []
        for number in range(max(map(len, columns))):
            found = [
                _set(column[number] if number < len(column) else Content(), width, align)
                for column, width, align in zip(columns, widths, self._aligned, strict=True)
            ]
            lines.append(between.join(found))
        return lines

    def _told(self, width: int) -> tuple[list[Row], list[str]]:
        """Return the cells one under another, each with the head of its column."""
        lines = []
        for cells in self._body or [[Content()] * len(self._head)]:
            lines += [
                Content.assemble(head, ": ", cell)
                for head, cell in zip(self._head, cells, strict=True)
            ]
            lines.append(Content())
        return Lines(lines[:-1], self._margin).lay_out(width)


def _set(cell: Content, width: int, align: Align) -> Content:
    free = max(0, width - cell.cell_length)
    before = {"left": 0, "center": free // 2, "right": free}[align]
    return cell.pad(before, free - before)

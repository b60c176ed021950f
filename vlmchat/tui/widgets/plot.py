"""A small plot of two losses over the steps, of characters that every terminal has.

The training loss is a line of braille dots, four to a cell's height and two to its width; the
validation loss is a mark for each measurement, so that the two are told apart without colour.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeAlias

from textual.content import Content
from textual.widgets import Static

Points: TypeAlias = Sequence[tuple[float, float]]
MEASURED, BEST = "◆", "★"
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_FEWEST_STEPS = 20
_ROOM = 1.25
_LABEL = 8


class Plot(Static):
    """Draws the losses of a run as far as it is."""

    DEFAULT_CSS = "Plot { height: 1fr; min-height: 4; width: 100%; }"

    def __init__(self) -> None:
        super().__init__("", markup=False)
        self._training: Points = ()
        self._validation: Points = ()
        self._steps = 0

    def show(self, training: Points, validation: Points, steps: int) -> None:
        """Draw these.

        Args:
            training: step and loss, in order.
            validation: the same of the measurements.
            steps: of the whole run; 0 while unknown.
        """
        self._training, self._validation, self._steps = training, validation, steps
        self.refresh()

    def render(self) -> Content:
        """Return the plot in the size there is."""
        width, height = self.content_size
        return plotted(self._training, self._validation, self._steps, width, height)


def plotted(training: Points, validation: Points, steps: int, width: int, height: int) -> Content:
    """Return a plot of `width` × `height` cells: legend, curves, and the steps below.

    Args:
        training: step and loss, in order.
        validation: the same of the measurements; the lowest has a mark of its own.
        steps: of the whole run; 0 while unknown.
        width: cells.
        height: cells; fewer than 4 are too few.
    """
    both = [*training, *validation]
    inner, rows = width - _LABEL - 1, height - 2
    if not both or inner < 4 or rows < 2:
        return Content.styled("No step has been taken yet." if not both else "", "$muted")
    last = max(step for step, _ in both)
    end = max(_FEWEST_STEPS, math.ceil(last * _ROOM))
    end = max(min(end, steps) if steps else end, math.ceil(last), 2)
    low, high = _range([loss for _, loss in both])
    cells = _line(_scaled(training, end, low, high, inner, rows), inner, rows)
    marks = _marks(_scaled(validation, end, low, high, inner, rows), validation, inner, rows)
    lines = [_legend(bool(validation))]
    for row in range(rows):
        at = {0: high, rows - 1: low}
        if rows >= 5:
            at[rows // 2] = high - (high - low) * (rows // 2) / (rows - 1)
        label = _figure(at[row]) if row in at else ""
        pieces = [Content.styled(f"{label:>{_LABEL - 1}} │", "$muted")]
        pieces += [_cell(cells[row][x], marks.get((x, row), "")) for x in range(inner)]
        lines.append(Content("").join(pieces))
    right = f"step {end:,}"
    foot = f"{'1':<{max(1, inner - len(right))}}{right}"
    lines.append(Content.styled(" " * _LABEL + "└" + foot, "$muted"))
    return Content("\n").join(lines)


def _legend(measured: bool) -> Content:
    parts = [(" " * (_LABEL + 1), ""), ("⠒⠢ training loss", "$primary")]
    if measured:
        parts.append((f"   {MEASURED} validation loss   {BEST} best", "bold $accent"))
    return Content.assemble(*parts)


def _cell(dots: int, mark: str) -> Content:
    if mark:
        return Content.styled(mark, "bold $accent")
    return Content.styled(chr(0x2800 + dots), "$primary") if dots else Content(" ")


def _range(losses: Sequence[float]) -> tuple[float, float]:
    low, high = min(losses), max(losses)
    if high - low < 1e-9:
        room = abs(high) * 0.1 or 1.0
        return low - room, high + room
    return low, high


def _figure(value: float) -> str:
    return f"{value:.1e}" if value and not 1e-3 <= abs(value) < 1e4 else f"{value:.3g}"


def _scaled(
    points: Points, end: float, low: float, high: float, columns: int, rows: int
) -> list[tuple[int, int]]:
    """Return the dots that points fall on, counted from the upper left."""
    wide, tall = 2 * columns - 1, 4 * rows - 1
    return [
        (
            round((max(step, 1) - 1) / (end - 1) * wide),
            round((high - loss) / (high - low) * tall),
        )
        for step, loss in points
    ]


def _line(dots: Sequence[tuple[int, int]], columns: int, rows: int) -> list[list[int]]:
    """Return the braille pattern of each cell for a line through `dots`."""
    cells = [[0] * columns for _ in range(rows)]

    def put(x: int, y: int) -> None:
        cells[y // 4][x // 2] |= _DOTS[y % 4][x % 2]

    for x, y in dots[:1]:
        put(x, y)
    for (left, top), (right, bottom) in pairwise(dots):
        count = max(abs(right - left), abs(bottom - top), 1)
        for part in range(count + 1):
            put(
                left + round((right - left) * part / count),
                top + round((bottom - top) * part / count),
            )
    return cells


def _marks(
    dots: Sequence[tuple[int, int]], points: Points, columns: int, rows: int
) -> dict[tuple[int, int], str]:
    """Return the marks by column and row; the best is not covered by another."""
    found = {(x // 2, y // 4): MEASURED for x, y in dots}
    if points:
        best = min(range(len(points)), key=lambda place: points[place][1])
        x, y = dots[best]
        found[x // 2, y // 4] = BEST
    return found

"""Parts of a picture by the cells of a grid over it: where most is, and places to compare with."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from random import Random
from typing import TypeAlias

from vlmchat.media.tiles import Box

Cells: TypeAlias = Sequence[Sequence[float]]
"""Rows of cells that part a picture evenly."""
_SHARE = 3  # a window has a third of a picture's width and of its height


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a picture, in cells of its grid.

    Attributes:
        row: its first row.
        col: its first column.
        rows: of it.
        cols: of it.
    """

    row: int
    col: int
    rows: int
    cols: int

    def overlaps(self, other: "Window") -> bool:
        """Return whether a cell is in both, which have the same size."""
        return abs(self.row - other.row) < self.rows and abs(self.col - other.col) < self.cols

    def box(self, grid: Cells) -> Box:
        """Return where it is, as fractions of the picture."""
        rows, cols = len(grid), len(grid[0])
        right, bottom = self.col + self.cols, self.row + self.rows
        return Box(self.col / cols, self.row / rows, right / cols, bottom / rows)

    def share(self, grid: Cells) -> float:
        """Return how much of what is in a grid lies in it."""
        rows = grid[self.row : self.row + self.rows]
        return sum(sum(row[self.col : self.col + self.cols]) for row in rows)


def windows(grid: Cells) -> list[Window]:
    """Return every window of a third of a grid's sides, one cell at least."""
    rows, cols = len(grid), len(grid[0])
    height, width = max(1, round(rows / _SHARE)), max(1, round(cols / _SHARE))
    places = product(range(rows - height + 1), range(cols - width + 1))
    return [Window(row, col, height, width) for row, col in places]


def peak(grid: Cells) -> Window:
    """Return the window of a grid that holds most; of equal ones the first."""
    return max(windows(grid), key=lambda window: window.share(grid))


def highest(grids: Sequence[Cells]) -> tuple[int, Window]:
    """Return which of several pictures has the window that holds most, and that window."""
    tops = [peak(grid) for grid in grids]
    shares = [top.share(grid) for top, grid in zip(tops, grids, strict=True)]
    number = shares.index(max(shares))
    return number, tops[number]


def elsewhere(grid: Cells, chosen: Window, count: int, seed: str) -> list[Window]:
    """Return windows of a grid that have no cell of the chosen one, drawn by lot.

    Args:
        grid: of the picture.
        chosen: the window they are compared with.
        count: how many, as far as there are so many.
        seed: the same text draws the same ones.
    """
    others = [it for it in windows(grid) if not it.overlaps(chosen)]
    lot = Random(seed)  # noqa: S311 - a choice, no secret
    return lot.sample(others, min(count, len(others)))

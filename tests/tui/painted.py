"""What is on the screen, cell by cell: characters, colours and text styles."""

from collections.abc import Iterator
from dataclasses import dataclass

from rich.cells import cell_len
from rich.color import Color as RichColor
from rich.style import Style
from textual.app import App
from textual.color import Color
from textual.geometry import Region

from vlmchat.tui.colours import contrast


@dataclass(frozen=True)
class Painted:
    """A run of characters of one style."""

    text: str
    style: Style

    @property
    def ink(self) -> RichColor | None:
        return self.style.bgcolor if self.style.reverse else self.style.color

    @property
    def ground(self) -> RichColor | None:
        return self.style.color if self.style.reverse else self.style.bgcolor

    @property
    def contrast(self) -> float:
        assert self.ink is not None and self.ground is not None, self
        return contrast(Color.from_rich_color(self.ink), Color.from_rich_color(self.ground))

    @property
    def is_text(self) -> bool:
        """Whether there is something to read: no spaces, lines or blocks."""
        return any(not char.isspace() and not "─" <= char <= "▟" for char in self.text)


def rows(app: App[str]) -> list[list[Painted]]:
    """Return the screen line by line."""
    return [
        [Painted(segment.text, segment.style or Style()) for segment in strip if segment.text]
        for strip in app.screen._compositor.render_strips()
    ]


def painted(app: App[str], region: Region | None = None) -> Iterator[Painted]:
    """Yield everything on the screen, or in a part of it."""
    lines = rows(app)
    if region is None:
        region = app.screen.region
    for row in lines[region.y : region.bottom]:
        x = 0
        for item in row:
            if region.x <= x < region.right:
                yield item
            x += cell_len(item.text)


def style_at(app: App[str], text: str, which: int = -1) -> Style:
    """Return the style of the first character of `text`, by default where it stands last."""
    found = []
    for row in rows(app):
        line = "".join(item.text for item in row)
        start = line.find(text)
        while start >= 0:
            at = 0
            for item in row:
                if at <= start < at + len(item.text):
                    found.append(item.style)
                at += len(item.text)
            start = line.find(text, start + 1)
    return found[which]

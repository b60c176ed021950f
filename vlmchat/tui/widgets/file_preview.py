"""A look at the file under a cursor: its picture, and a line of facts."""

import asyncio
from pathlib import Path

from textual.app import ComposeResult
from textual.containers import Center, Middle
from textual.message import Message

from vlmchat.errors import VlmchatError
from vlmchat.media.attaching import video_kind
from vlmchat.media.images import dimensions
from vlmchat.media.storyboard import describe_video
from vlmchat.text import human_bytes, visible_line
from vlmchat.tui.decoding import or_sentence
from vlmchat.tui.drawing import Drawn, fit, pixels, prepare, style_of
from vlmchat.tui.terminal import PictureStyle
from vlmchat.tui.widgets.canvas import Canvas

PREVIEW_FROM = 100
"""Columns of a screen; where it is narrower, the names need the room."""


class FilePreview(Middle):
    """Shows one file at a time; those passed over meanwhile are left out."""

    DEFAULT_CSS = """
    FilePreview {
        width: 42;
        height: 1fr;
        margin: 0 0 0 1;
        align: center middle;
        background: $surface;
    }
    """

    class Described(Message):
        """What is to be said of the file that is wanted; a sentence where it cannot be read."""

        def __init__(self, facts: str) -> None:
            super().__init__()
            self.facts = facts

    def __init__(self, id: str | None = None) -> None:  # noqa: A002 - as every widget has it
        super().__init__(id=id)
        self._wanted: Path | None = None
        self._busy = False

    def compose(self) -> ComposeResult:
        """Lay out the picture in the middle."""
        with Center():
            yield Canvas()

    @property
    def wanted(self) -> Path | None:
        """The file that is shown, or about to be."""
        return self._wanted

    def want(self, path: Path | None) -> None:
        """Show a file, or nothing."""
        self._wanted = path
        if path is None:
            self.query_one(Canvas).show(None)
            self.post_message(self.Described(""))
        elif not self._busy:
            self._busy = True
            self.run_worker(self._follow(), group="preview")

    async def _follow(self) -> None:
        """Draw what is wanted, until that is what was drawn."""
        try:
            while (path := self._wanted) is not None:
                await self._show(path)
                if self._wanted == path:
                    break
        finally:
            self._busy = False

    async def _show(self, path: Path) -> None:
        facts = await asyncio.to_thread(describe_file, path)
        canvas = self.query_one(Canvas)
        drawn: Drawn | str = ""
        space, style = self.size, style_of(self.app)
        if space and self.display and style.kind != "off":
            ground = canvas.background_colors[1].rgb
            drawn = await or_sentence(
                lambda: _drawn_file(path, space.width, space.height, style, ground)
            )
        if self._wanted != path:
            return
        if isinstance(drawn, str):
            canvas.show(None)
            facts = drawn or facts
        else:
            canvas.styles.width, canvas.styles.height = drawn.columns, drawn.rows
            canvas.show(drawn)
        self.post_message(self.Described(facts))


def _drawn_file(
    path: Path, columns: int, rows: int, style: PictureStyle, ground: tuple[int, int, int]
) -> Drawn:
    from vlmchat.media.thumbnails import file_thumbnail

    image = file_thumbnail(path, pixels(columns, rows, style))
    columns, rows = fit(image.width, image.height, columns, rows, style)
    return prepare(image, columns, rows, style, ground)


def describe_file(path: Path) -> str:
    """Return one line about the picture or video at `path`; blocking."""
    try:
        shape = describe_video(path) if video_kind(path) else "{}×{}".format(*dimensions(path))
        size = path.stat().st_size
    except VlmchatError as error:
        return str(error)
    except OSError as error:
        return visible_line(str(error))
    return f"{visible_line(path.name)}  {shape} · {human_bytes(size)}"

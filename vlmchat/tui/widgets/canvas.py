"""A widget that shows one drawn picture."""

from textual.strip import Strip
from textual.widget import Widget

from vlmchat.tui.drawing import Drawn


class Canvas(Widget):
    """Shows a `Drawn`, in its upper left corner, or one word while there is none."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    Canvas {
        width: auto;
        height: auto;
        color: $muted;
    }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._drawn: Drawn | None = None
        self._word = ""

    @property
    def drawn(self) -> Drawn | None:
        """What is shown."""
        return self._drawn

    def show(self, drawn: Drawn | None, word: str = "") -> None:
        """Show a picture, or `word` instead."""
        if self._drawn is not None:
            self._drawn.release()
        self._drawn, self._word = drawn, word
        self.remove_children()
        if drawn is not None and drawn.image is not None:
            self._show_sixels(drawn)
        self.refresh()

    def _show_sixels(self, drawn: Drawn) -> None:
        from textual_image.widget import SixelImage

        widget = SixelImage(drawn.image)
        widget.styles.width = drawn.columns
        widget.styles.height = drawn.rows
        self.mount(widget)

    def on_unmount(self) -> None:
        """Let the terminal forget the picture."""
        if self._drawn is not None:
            self._drawn.release()
            self._drawn = None

    def render_line(self, y: int) -> Strip:
        """Return one line of what is shown."""
        ground = self.visual_style.rich_style
        width = self.size.width
        strips = self._drawn.strips if self._drawn is not None else ()
        if y < len(strips):
            return strips[y].adjust_cell_length(width, ground)
        if y == 0 and self._word:
            from rich.segment import Segment

            word = self._word[:width]
            return Strip([Segment(word, ground)], len(word)).adjust_cell_length(width, ground)
        return Strip.blank(width, ground)

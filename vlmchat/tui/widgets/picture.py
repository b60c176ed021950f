"""Pictures in the conversation: seen, opened, and only decoded once they come into view."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalGroup
from textual.content import Content
from textual.geometry import Region as Rectangle
from textual.geometry import Size
from textual.layout import ArrangeResult, Layout, WidgetPlacement
from textual.strip import Strip
from textual.theme import Theme
from textual.widget import Widget
from textual.widgets import Static

from vlmchat.chat.messages import Attachment, ImagePart, Media, Region, VideoPart
from vlmchat.talk.plan import as_items
from vlmchat.tui.decoding import or_sentence
from vlmchat.tui.drawing import Drawn, fit, pixels, prepare, style_of
from vlmchat.tui.media_actions import open_or_tell, view_large
from vlmchat.tui.widgets.canvas import Canvas
from vlmchat.tui.widgets.chips import describe_item
from vlmchat.tui.widgets.storyboard import VideoStrip

if TYPE_CHECKING:
    from vlmchat.tui.terminal import PictureStyle

# How many pictures of a long conversation stay drawn; about 100 kB each.
KEPT = 64
_LABEL = 40


class PictureCanvas(Canvas):
    """A picture of a conversation; takes its place at once and is drawn when it is first seen."""

    _shown: ClassVar[OrderedDict["PictureCanvas", None]] = OrderedDict()

    def __init__(self, picture: "Picture") -> None:
        super().__init__()
        self._picture = picture
        self._wanted = False

    def get_content_width(self, container: Size, viewport: Size) -> int:
        """Return the width the picture takes within its container."""
        return self._picture.extent(container.width)[0]

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Return the height the picture takes within its container."""
        return self._picture.extent(max(width, container.width))[1]

    def render_line(self, y: int) -> Strip:
        """Return one line; being asked for it means that the picture is in view."""
        drawn = self.drawn
        stale = drawn is None or (drawn.columns, drawn.rows) != (self.size.width, self.size.height)
        if stale and not self._wanted:
            self._wanted = True
            self.call_later(self._load)
        if self in self._shown:
            self._shown.move_to_end(self)
        return super().render_line(y)

    def again(self) -> None:
        """Draw the picture anew when it is next seen."""
        self._wanted = False
        self._shown.pop(self, None)
        self.show(None)

    def on_unmount(self) -> None:
        """Leave the list of drawn pictures (Textual calls the base class's own handler too)."""
        self._shown.pop(self, None)

    def _load(self) -> None:
        self.run_worker(self._draw(), group="picture", exclusive=True)

    async def _draw(self) -> None:
        size = self.size.width, self.size.height
        if not all(size):
            self._wanted = False
            return
        self.show(None, "…")
        drawn = await self._picture.draw(*size, self.background_colors[1].rgb)
        self._wanted = False
        if isinstance(drawn, str):
            self._picture.fail(drawn)
            return
        self.show(drawn)
        self._shown[self] = None
        self._forget_oldest()

    def _forget_oldest(self) -> None:
        for canvas in list(self._shown)[: max(0, len(self._shown) - KEPT)]:
            if not canvas.is_attached or not canvas.screen.region.overlaps(canvas.region):
                canvas.again()


class Picture(VerticalGroup, can_focus=True):
    """A picture with its name, sizes and the keys to look closer.

    Args:
        shown: a medium, or an attachment of which only a part may be meant.
    """

    DEFAULT_CSS = """
    Picture {
        width: auto;
        max-width: 100%;
        margin: 0 2 0 0;
        .picture-label {
            width: 100%;
            height: 1;
            color: $secondary;
            text-wrap: nowrap;
            text-overflow: ellipsis;
            &.broken {
                height: auto;
                text-wrap: wrap;
                color: $error;
            }
        }
        &:focus .picture-label {
            background: $primary;
            color: $block-cursor-foreground;
        }
        &:hover .picture-label {
            text-style: underline;
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "view", "View"),
        Binding("o", "open", "Open outside"),
    ]

    def __init__(self, shown: Media | Attachment) -> None:
        super().__init__(classes="turn-picture")
        self.item = as_items([shown])[0]
        self.broken = False
        self._label = f"▣ {describe_item(self.item)}"

    @property
    def media(self) -> Media:
        """The whole medium."""
        return self.item.media

    def compose(self) -> ComposeResult:
        """Lay out the picture above its name."""
        if style_of(self.app).kind != "off":
            yield PictureCanvas(self)
        yield Static(Content(self._label), classes="picture-label")

    def on_mount(self) -> None:
        """Follow the theme: what is transparent shows the colour behind it."""
        self.tooltip = Content("Enter or a click shows it large, o opens it outside")
        self.app.theme_changed_signal.subscribe(self, self._theme_changed)

    def get_content_width(self, container: Size, viewport: Size) -> int:
        """Return the width of picture or label, whichever is wider."""
        label = cell_len(self._label)
        if self.broken or style_of(self.app).kind == "off":
            return min(label, container.width)
        columns, _ = self.extent(container.width)
        return min(container.width, max(columns, min(label, _LABEL)))

    def extent(self, columns: int) -> tuple[int, int]:
        """Return the columns and rows the picture takes where there are so many columns."""
        style = style_of(self.app)
        media = self.media
        size = self.item.size if isinstance(self.item, ImagePart) else (media.width, media.height)
        return fit(*size, max(1, columns), style.rows, style)

    async def draw(self, columns: int, rows: int, ground: tuple[int, int, int]) -> Drawn | str:
        """Return the picture drawn on so many cells, or why it cannot be."""
        media, style = self.media, style_of(self.app)
        region = self.item.region if isinstance(self.item, ImagePart) else None
        return await or_sentence(lambda: draw_media(media, columns, rows, style, ground, region))

    def fail(self, sentence: str) -> None:
        """Show the sentence instead of the picture."""
        self.broken = True
        self._label = sentence
        self.query_one(PictureCanvas).display = False
        label = self.query_one(".picture-label", Static)
        label.add_class("broken")
        label.update(Content(sentence))
        self.refresh(layout=True)

    def on_click(self) -> None:
        """Show it large."""
        self.action_view()

    def action_view(self) -> None:
        """Show it large, with the other pictures of the conversation to either side."""
        view_large(self)

    def action_open(self) -> None:
        """Open it in the desktop's viewer."""
        open_or_tell(self, self.media)

    def _theme_changed(self, _: Theme) -> None:
        for canvas in self.query(PictureCanvas):
            canvas.again()


def draw_media(
    media: Media,
    columns: int,
    rows: int,
    style: "PictureStyle",
    ground: tuple[int, int, int],
    region: Region | None = None,
) -> Drawn:
    """Return a thumbnail of `media`, or of a part of it, on so many cells; slow, for a thread.

    Raises:
        MediaError: it cannot be decoded.
    """
    from vlmchat.media.thumbnails import of_media

    size = pixels(columns, rows, style)
    image = of_media(media, size, region)
    return prepare(image, columns, rows, style, ground)


class FlowLayout(Layout):
    """Side by side as far as there is room, then on the next line."""

    name = "flow"

    def arrange(
        self, parent: Widget, children: list[Widget], size: Size, greedy: bool = True
    ) -> ArrangeResult:
        """Return where each child goes."""
        viewport = parent.app.viewport_size
        placements: list[WidgetPlacement] = []
        x = y = tallest = 0
        for child in children:
            margin = child.styles.margin
            width = min(child.get_content_width(size, viewport), max(1, size.width))
            height = child.get_content_height(size, viewport, width)
            if x and x + width > size.width:
                x, y, tallest = 0, y + tallest, 0
            region = Rectangle(x, y, width, height)
            placements.append(WidgetPlacement(region, region.offset * 0, margin, child))
            x += width + margin.right
            tallest = max(tallest, height)
        return placements


class PictureFlow(VerticalGroup):
    """The pictures and videos of one question.

    Args:
        attachments: in their order.
    """

    DEFAULT_CSS = """
    PictureFlow {
        height: auto;
    }
    """

    def __init__(self, attachments: Iterable[Attachment]) -> None:
        super().__init__(classes="turn-media")
        self._attachments = tuple(attachments)
        self._flow = FlowLayout()

    @property
    def layout(self) -> Layout:
        """Side by side, not one below the other."""
        return self._flow

    def compose(self) -> ComposeResult:
        """Lay out the pictures and videos."""
        for part in self._attachments:
            if isinstance(part, VideoPart):
                yield VideoStrip(part)
            else:
                yield Picture(part)

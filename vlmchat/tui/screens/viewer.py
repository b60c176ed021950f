"""One picture as large as the screen allows, and closer."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Center, Middle
from textual.content import Content
from textual.theme import Theme
from textual.widgets import Static

from vlmchat.chat.messages import Attachment, Media
from vlmchat.talk.plan import as_items
from vlmchat.text import human_bytes, visible_line
from vlmchat.tui.decoding import or_sentence
from vlmchat.tui.drawing import Drawn, prepare, style_of
from vlmchat.tui.media_actions import open_or_tell
from vlmchat.tui.screens.looking import Looking
from vlmchat.tui.terminal import PictureStyle
from vlmchat.tui.viewing import marked, shown_part, view_of
from vlmchat.tui.widgets.canvas import Canvas

if TYPE_CHECKING:
    from PIL.Image import Image

STEP = 1.5
_FARTHEST = 16.0
# What is kept of a picture to zoom into: fine enough, and bounded.
_LARGEST = (2048, 2048)


class Viewer(Looking):
    """Shows media one at a time, fitted to the screen.

    A picture of which only a part is meant is shown whole, with the part bright in it.

    Args:
        media: what can be gone through.
        index: which of them comes first.
        facts: more lines to show with ``i``.
        cropping: whether to begin with choosing a part.
    """

    DEFAULT_CSS = """
    Viewer {
        background: $background;
        layout: vertical;
        #viewer-room {
            width: 100%;
            height: 1fr;
            align: center middle;
            overflow: hidden;
        }
        #viewer-facts {
            display: none;
            layer: above;
            dock: top;
            width: auto;
            max-width: 100%;
            height: auto;
            margin: 1 2;
            padding: 0 1;
            background: $surface;
            border: round $border;
            border-title-color: $primary;
        }
        #viewer-name {
            height: 1;
            padding: 0 2;
            background: $surface;
            color: $foreground;
            text-wrap: nowrap;
            text-overflow: ellipsis;
        }
        #viewer-plan {
            display: none;
            height: 1;
            padding: 0 2;
            background: $surface;
            color: $primary;
            text-wrap: nowrap;
            text-overflow: ellipsis;
        }
        #viewer-keys {
            height: 1;
            padding: 0 2;
            background: $surface;
            color: $muted;
            text-wrap: nowrap;
            text-overflow: ellipsis;
        }
        &.failed #viewer-room Canvas {
            color: $error;
        }
    }
    """
    LAYERS: ClassVar[tuple[str, ...]] = ("default", "above")
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "leave", "Close"),
        Binding("plus,equals_sign", "zoom(1)", "Closer"),
        Binding("minus", "zoom(-1)", "Farther"),
        Binding("0", "zoom(0)", "Fit"),
        Binding("left", "arrow(-1, 0)", "Left"),
        Binding("right", "arrow(1, 0)", "Right"),
        Binding("up", "arrow(0, -1)", "Up"),
        Binding("down", "arrow(0, 1)", "Down"),
        Binding("n,space,pagedown", "go(1)", "Next"),
        Binding("p,pageup", "go(-1)", "Previous"),
        Binding("o", "open", "Open outside"),
        Binding("i", "facts", "Facts"),
    ]

    def __init__(
        self,
        media: Sequence[Media | Attachment],
        index: int = 0,
        facts: Callable[[Media], str] | None = None,
        *,
        cropping: bool = False,
    ) -> None:
        super().__init__(id="viewer")
        self._items = as_items(media)
        self._index = index
        self._more_facts = facts
        self._item = self._items[index]
        self._image: Image | None = None
        self._trouble = ""
        self.zoom = 1.0
        self._centre = (0.5, 0.5)
        self._base: tuple[object, Image] | None = None
        self._drawing = self._stale = False
        self._begin_cropping = cropping

    @property
    def current(self) -> Media:
        """The medium that is shown."""
        return self._item.media

    def compose(self) -> ComposeResult:
        """Lay out the picture, its name, and the keys."""
        with Middle(id="viewer-room"), Center():
            yield Canvas(id="viewer-canvas")
        yield Static("", id="viewer-facts", markup=False)
        yield Static("", id="viewer-name", markup=False)
        yield Static("", id="viewer-plan", markup=False)
        yield Static("", id="viewer-keys", markup=False)

    def on_mount(self) -> None:
        """Begin with the first."""
        self.query_one("#viewer-facts").border_title = "Facts"
        self.app.theme_changed_signal.subscribe(self, self._theme_changed)
        self._load()

    def on_resize(self, _: events.Resize) -> None:
        """Fit the picture anew."""
        self._draw()

    # Which ------------------------------------------------------------------------------------

    def action_go(self, step: int) -> None:
        """Show the next medium, or the one before."""
        if len(self._items) > 1:
            self._index = (self._index + step) % len(self._items)
            self._load()

    def action_arrow(self, across: int, down: int) -> None:
        """Move the part that is chosen; look around; or go to the next medium."""
        if self.selection is not None:
            self._select(lambda found, x, y: found.moved(across * x, down * y))
        elif self.zoom > 1:
            self.action_pan(across, down)
        elif across:
            self.action_go(across)

    def _load(self) -> None:
        self.zoom, self._centre = 1.0, (0.5, 0.5)
        self._item = self._items[self._index]
        self._image, self._base, self._view, self._trouble = None, None, None, ""
        self.selection = self._dragged_from = None
        if self._begin_cropping:
            self._begin_cropping = False
            self._begin_selection()
        self._show_text()
        self.query_one(Canvas).show(None, "…")
        self.run_worker(self._decode(self.current), group="viewer", exclusive=True)

    async def _decode(self, media: Media) -> None:
        from vlmchat.media.thumbnails import thumbnail

        found = await or_sentence(
            lambda: thumbnail(media.data, media.sha256, _LARGEST, media.name, media.mime)
        )
        if isinstance(found, str):
            self._fail(found)
        else:
            self._image = found
            self._draw()

    def _fail(self, sentence: str) -> None:
        self._trouble = sentence
        self._show_text()

    # How --------------------------------------------------------------------------------------

    def action_zoom(self, step: int) -> None:
        """Come closer, go farther, or fit the whole; or do so with the part that is chosen."""
        if self.selection is not None:
            self._select(lambda found, x, y: found.grown(x * step, y * step))
            return
        factor = self.zoom * STEP**step if step else 1.0
        self.zoom = 1.0 if factor < 1.01 else min(_FARTHEST, factor)
        self._draw()

    def action_pan(self, across: int, down: int) -> None:
        """Look a quarter of the screen further."""
        part = 0.25 / self.zoom
        x, y = self._centre
        self._centre = x + across * part, y + down * part
        self._draw()

    def _theme_changed(self, _: Theme) -> None:
        self._draw()

    def _draw(self) -> None:
        """Draw anew; while that is done, only the last wish is remembered."""
        self._stale = True
        if self._image is not None and not self._drawing:
            self._drawing = True
            self.run_worker(self._keep_drawing(), group="viewer-drawing")

    async def _keep_drawing(self) -> None:
        try:
            while self._stale and self._image is not None:
                self._stale = False
                await self._redraw(self._image)
        finally:
            self._drawing = False

    async def _redraw(self, image: "Image") -> None:
        room = self.query_one("#viewer-room").size
        if not room:
            return
        style = style_of(self.app)
        style = PictureStyle("blocks", cell=style.cell) if style.kind == "off" else style
        ground = self.background_colors[1].rgb
        media = self.current
        size = media.width, media.height
        view = view_of(size, room.width, room.height, self.zoom, self._centre, style)
        self._view, self._centre = view, view.centre
        self._show_text()
        lines, region, ink = self._lines(), self._region(), self._ink()
        key = view, style, ground
        base = self._base[1] if self._base is not None and self._base[0] == key else None

        def work() -> "tuple[Image, Drawn]":
            shown = shown_part(image, view, style, ground) if base is None else base
            seen = marked(shown, view, size, lines, region, ink) if lines or region else shown
            return shown, prepare(seen, view.columns, view.rows, style, ground)

        done = await or_sentence(work)
        if image is not self._image or not self.is_mounted:
            return  # another one is looked at by now
        if isinstance(done, str):
            self._fail(done)
            return
        canvas = self.query_one(Canvas)
        self._base, drawn = (key, done[0]), done[1]
        canvas.styles.width, canvas.styles.height = drawn.columns, drawn.rows
        canvas.show(drawn)

    # What it says -----------------------------------------------------------------------------

    def _show_text(self) -> None:
        media = self.current
        place = f"{self._index + 1}/{len(self._items)}  " if len(self._items) > 1 else ""
        zoom = f"  ×{self.zoom:.3g}" if self.zoom > 1 else ""
        name = self.query_one("#viewer-name", Static)
        name.update(Content(self._trouble or f"{place}{visible_line(media.name)}{zoom}"))
        self.set_class(bool(self._trouble), "failed")
        if self._trouble:
            self.query_one(Canvas).show(None)
        told = self._plan_words()
        plan = self.query_one("#viewer-plan", Static)
        if plan.display != bool(told):
            plan.display = bool(told)
            self.call_after_refresh(self._draw)  # the picture has a line less now, or more
        plan.update(Content(told))
        self.query_one("#viewer-keys", Static).update(self._keys())
        self.query_one("#viewer-facts", Static).update(Content(self._facts()))

    def _keys(self) -> str:
        if self.selection is not None:
            return "arrows move · Shift+ resize · + − size · Enter attaches · Esc back"
        arrows = "arrows move" if self.zoom > 1 else "← → next"
        turning = f"{arrows} · " if self.zoom > 1 or len(self._items) > 1 else ""
        looking = "g tiles · d detail · c crop" if self._picture is not None else "o opens outside"
        return f"{turning}+ − zoom · {looking} · i facts · Esc closes"

    def _facts(self) -> str:
        media = self.current
        lines = [
            visible_line(media.name),
            f"{media.width} × {media.height} pixels · {human_bytes(media.size)}",
            visible_line(media.mime),
            f"SHA-256 {media.sha256}",
        ]
        if cost := self._cost_words():
            lines.append(cost)
        lines.append("0 fits the picture · o opens it in the desktop's viewer")
        if self._more_facts is not None and (more := self._more_facts(media)):
            lines.append(more)
        return "\n".join(lines)

    def action_facts(self) -> None:
        """Show or hide the facts."""
        facts = self.query_one("#viewer-facts")
        facts.display = not facts.display

    def action_open(self) -> None:
        """Open the medium in the desktop's viewer."""
        open_or_tell(self, self.current)

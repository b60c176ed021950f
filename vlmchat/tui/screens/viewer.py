"""One picture as large as the screen allows, and closer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Center, Middle
from textual.content import Content
from textual.screen import ModalScreen
from textual.theme import Theme
from textual.widgets import Static

from vlmchat.chat.messages import Media
from vlmchat.text import human_bytes, visible_line
from vlmchat.tui.decoding import or_sentence
from vlmchat.tui.drawing import Drawn, fit, per_cell, pixels, prepare, style_of
from vlmchat.tui.media_actions import open_or_tell
from vlmchat.tui.terminal import PictureStyle
from vlmchat.tui.widgets.canvas import Canvas

if TYPE_CHECKING:
    from PIL.Image import Image

STEP = 1.5
_FARTHEST = 16.0
# What is kept of a picture to zoom into: fine enough, and bounded.
_LARGEST = (2048, 2048)


class Viewer(ModalScreen[None]):
    """Shows media one at a time, fitted to the screen.

    Args:
        media: what can be gone through.
        index: which of them comes first.
        facts: more lines to show with ``i``, as the tile plan.
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
        Binding("escape,q", "dismiss(None)", "Close"),
        Binding("plus,equals_sign", "zoom(1)", "Closer"),
        Binding("minus", "zoom(-1)", "Farther"),
        Binding("0", "zoom(0)", "Fit"),
        Binding("left", "side(-1)", "Left"),
        Binding("right", "side(1)", "Right"),
        Binding("up", "pan(0, -1)", "Up"),
        Binding("down", "pan(0, 1)", "Down"),
        Binding("n,space,pagedown", "go(1)", "Next"),
        Binding("p,pageup", "go(-1)", "Previous"),
        Binding("o", "open", "Open outside"),
        Binding("i", "facts", "Facts"),
    ]

    def __init__(
        self,
        media: Sequence[Media],
        index: int = 0,
        facts: Callable[[Media], str] | None = None,
    ) -> None:
        super().__init__(id="viewer")
        self._media = list(media)
        self._index = index
        self._more_facts = facts
        self._shown = self._media[index]
        self._image: Image | None = None
        self._trouble = ""
        self.zoom = 1.0
        self._centre = (0.5, 0.5)

    @property
    def current(self) -> Media:
        """The medium that is shown."""
        return self._shown

    def compose(self) -> ComposeResult:
        """Lay out the picture, its name, and the keys."""
        with Middle(id="viewer-room"), Center():
            yield Canvas(id="viewer-canvas")
        yield Static("", id="viewer-facts", markup=False)
        yield Static("", id="viewer-name", markup=False)
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
        if len(self._media) > 1:
            self._index = (self._index + step) % len(self._media)
            self._load()

    def action_side(self, step: int) -> None:
        """Look to the side in a picture larger than the screen, else go to the next medium."""
        if self.zoom > 1:
            self.action_pan(step, 0)
        else:
            self.action_go(step)

    def _load(self) -> None:
        self.zoom, self._centre = 1.0, (0.5, 0.5)
        self._shown = self._media[self._index]
        self._image, self._trouble = None, ""
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
            await self._redraw()

    def _fail(self, sentence: str) -> None:
        self._trouble = sentence
        self._show_text()

    # How --------------------------------------------------------------------------------------

    def action_zoom(self, step: int) -> None:
        """Come closer, go farther, or fit the whole."""
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
        if self._image is not None:
            self.run_worker(self._redraw(), group="viewer", exclusive=True)

    async def _redraw(self) -> None:
        image, room = self._image, self.query_one("#viewer-room").size
        if image is None or not room:
            return
        style = style_of(self.app)
        style = PictureStyle("blocks", cell=style.cell) if style.kind == "off" else style
        ground = self.background_colors[1].rgb
        plan = _plan(self.current, image, room.width, room.height, self.zoom, self._centre, style)
        self._centre = plan.centre
        self._show_text()

        def work() -> Drawn:
            part = image if plan.box is None else image.crop(plan.box)
            return prepare(part, plan.columns, plan.rows, style, ground)

        drawn = await or_sentence(work)
        canvas = self.query_one(Canvas)
        if isinstance(drawn, str):
            self._fail(drawn)
            return
        canvas.styles.width, canvas.styles.height = drawn.columns, drawn.rows
        canvas.show(drawn)

    # What it says -----------------------------------------------------------------------------

    def _show_text(self) -> None:
        media = self.current
        place = f"{self._index + 1}/{len(self._media)}  " if len(self._media) > 1 else ""
        zoom = f"  ×{self.zoom:.3g}" if self.zoom > 1 else ""
        name = self.query_one("#viewer-name", Static)
        name.update(Content(self._trouble or f"{place}{visible_line(media.name)}{zoom}"))
        self.set_class(bool(self._trouble), "failed")
        if self._trouble:
            self.query_one(Canvas).show(None)
        arrows = "arrows move" if self.zoom > 1 else "← → next"
        turning = f"{arrows} · " if self.zoom > 1 or len(self._media) > 1 else ""
        self.query_one("#viewer-keys", Static).update(
            f"{turning}+ − zoom · 0 fits · i facts · o opens outside · Esc closes"
        )
        self.query_one("#viewer-facts", Static).update(Content(self._facts()))

    def _facts(self) -> str:
        media = self.current
        lines = [
            visible_line(media.name),
            f"{media.width} × {media.height} pixels · {human_bytes(media.size)}",
            visible_line(media.mime),
            f"SHA-256 {media.sha256}",
        ]
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


@dataclass(frozen=True, slots=True)
class _Plan:
    """Which part of a picture (all of it without a box) goes on how many cells."""

    columns: int
    rows: int
    box: tuple[int, int, int, int] | None
    centre: tuple[float, float]


def _plan(
    media: Media,
    image: "Image",
    columns: int,
    rows: int,
    zoom: float,
    centre: tuple[float, float],
    style: PictureStyle,
) -> _Plan:
    """Return the part of `image` to show: the whole at zoom 1, else a window around `centre`."""
    fit_columns, fit_rows = fit(media.width, media.height, columns, rows, style)
    if zoom <= 1:
        return _Plan(fit_columns, fit_rows, None, (0.5, 0.5))
    across, down = per_cell(style)
    whole_width, whole_height = pixels(fit_columns, fit_rows, style)
    whole_width, whole_height = round(whole_width * zoom), round(whole_height * zoom)
    shown_columns = min(columns, max(1, round(whole_width / across)))
    shown_rows = min(rows, max(1, round(whole_height / down)))
    part_x = min(1.0, shown_columns * across / whole_width)
    part_y = min(1.0, shown_rows * down / whole_height)
    x = min(max(centre[0], part_x / 2), 1 - part_x / 2)
    y = min(max(centre[1], part_y / 2), 1 - part_y / 2)
    left, top = int((x - part_x / 2) * image.width), int((y - part_y / 2) * image.height)
    right = max(left + 1, round((x + part_x / 2) * image.width))
    bottom = max(top + 1, round((y + part_y / 2) * image.height))
    box = left, top, min(right, image.width), min(bottom, image.height)
    return _Plan(shown_columns, shown_rows, box, (x, y))

"""Where an answer looked: the picture with the heat over it, word by word."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Center, Middle
from textual.content import Content
from textual.screen import ModalScreen
from textual.theme import Theme
from textual.widgets import Static

from vlmchat.errors import VlmchatError
from vlmchat.talk.turns.tree import Turn
from vlmchat.talk.why import Why, names_of, span_of
from vlmchat.text import visible, visible_line
from vlmchat.tui.decoding import or_sentence
from vlmchat.tui.drawing import Drawn, prepare, style_of
from vlmchat.tui.terminal import PictureStyle
from vlmchat.tui.viewing import shown_part, view_of
from vlmchat.tui.widgets.canvas import Canvas

if TYPE_CHECKING:
    from PIL.Image import Image

    from vlmchat.chat.messages import Media
    from vlmchat.client.evidence import Evidence, Sight
    from vlmchat.media.tiles import Box
    from vlmchat.tui.screens.chat import ChatScreen

_LARGEST = (1024, 1024)  # what is kept of a picture to draw on
_AROUND = 90  # characters of the answer on either side of a word


def open_why(chat: "ChatScreen", turn: Turn, word: str = "") -> None:
    """Show where a reply looked, or a word of it.

    Raises:
        UsageError: there is no such word in it.
    """
    chat.app.push_screen(WhyScreen(Why(chat.session, turn), span_of(turn.text, word)))


class WhyScreen(ModalScreen[None]):
    """Shows the heat of an answer or of a word of it, and what hiding the hottest place does.

    Args:
        why: asks the engine.
        span: of the word to begin with; ``None`` for the whole answer.
    """

    DEFAULT_CSS = """
    WhyScreen {
        background: $background;
        layout: vertical;
        #why-room {
            width: 100%;
            height: 1fr;
            align: center middle;
            overflow: hidden;
        }
        Static {
            width: 100%;
            height: auto;
            padding: 0 2;
            background: $surface;
            color: $foreground;
        }
        #why-name {
            height: 1;
            color: $primary;
            text-wrap: nowrap;
            text-overflow: ellipsis;
        }
        #why-text, #why-said {
            max-height: 4;
        }
        #why-said {
            min-height: 3;
        }
        #why-keys {
            height: 1;
            color: $muted;
            text-wrap: nowrap;
            text-overflow: ellipsis;
        }
        &.failed #why-said {
            color: $error;
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss(None)", "Close"),
        Binding("right,l", "step(1)", "Next word"),
        Binding("left,h", "step(-1)", "Word before"),
        Binding("home,0", "whole", "The whole answer"),
        Binding("enter,space", "hide", "Hide the place"),
        Binding("n,pagedown", "picture(1)", "Next picture"),
        Binding("p,pageup", "picture(-1)", "Picture before"),
        Binding("s", "save", "Save as PNG"),
    ]

    def __init__(self, why: Why, span: tuple[int, int] | None = None) -> None:
        super().__init__(id="why")
        self._why = why
        self._span = span
        self._at = -1  # the word that is shown; the whole answer, or what was asked, at -1
        self._found: Evidence | None = None
        self._hidden: dict[tuple[int, int] | None, Evidence] = {}
        self._pictures: Sequence[Media] = ()
        self._picture = 0
        self._images: dict[int, Image] = {}
        self._trouble = ""
        self._busy = "Looking at the answer once more …"
        self._drawing = self._stale = False

    def compose(self) -> ComposeResult:
        """Lay out the picture, the answer, what is known, and the keys."""
        with Middle(id="why-room"), Center():
            yield Canvas(id="why-canvas")
        for name in ("name", "text", "said", "keys"):
            yield Static("", id=f"why-{name}", markup=False)

    def on_mount(self) -> None:
        """Ask the engine: first where it looked, then what hiding that does."""
        self.app.theme_changed_signal.subscribe(self, self._theme_changed)
        self._show()
        self.run_worker(self._begin(), group="why")

    def on_resize(self, _: events.Resize) -> None:
        """Fit the picture anew."""
        self._draw()

    def _theme_changed(self, _: Theme) -> None:
        self._draw()

    async def _begin(self) -> None:
        try:
            self._pictures = await self._why.pictures()
            self._found = await self._why.evidence(self._span, hide=False)
            if len(self._found.whole.heat) != len(self._pictures):
                self._fail("The engine told of other pictures than were sent: ask once more.")
                return
        except VlmchatError as error:
            self._fail(str(error))
            return
        self._turn_to_peak()
        await self._hide(self._chosen)

    def _fail(self, sentence: str) -> None:
        self._trouble, self._busy = sentence, ""
        self._show()

    # What is shown ----------------------------------------------------------------------------

    @property
    def _chosen(self) -> tuple[int, int] | None:
        """The characters that are looked at; ``None`` for all."""
        if self._found is None or self._at < 0:
            return self._span
        word = self._found.words[self._at]
        return word.begin, word.end

    @property
    def _sight(self) -> "Sight | None":
        if self._found is None:
            return None
        return self._found.words[self._at] if self._at >= 0 else self._found.chosen

    def _place(self) -> "tuple[int, Box] | None":
        """Return the picture and the place that is framed: what was hidden, or would be."""
        done, sight = self._hidden.get(self._chosen), self._sight
        if done is not None and done.hiding is not None:
            return done.hiding.picture, done.hiding.box
        return sight.most[:2] if sight is not None else None

    def _turn_to_peak(self) -> None:
        place = self._place()
        self._picture = place[0] if place else 0
        self._show()

    # Keys -------------------------------------------------------------------------------------

    def action_step(self, step: int) -> None:
        """Look at the next word, or at the one before."""
        if self._found is None or not self._found.words:
            return
        count = len(self._found.words)
        self._trouble = ""
        self._at = (self._at + 1 + step) % (count + 1) - 1
        if self._at < 0:
            self._whole()
        self._turn_to_peak()

    def action_whole(self) -> None:
        """Look at the whole answer."""
        if self._found is not None:
            self._at = -1
            self._whole()
            self._turn_to_peak()

    def _whole(self) -> None:
        assert self._found is not None
        self._span = None
        self._found = replace(self._found, chosen=self._found.whole)

    def action_picture(self, step: int) -> None:
        """Look at the next picture, or at the one before."""
        if len(self._pictures) > 1:
            self._picture = (self._picture + step) % len(self._pictures)
            self._show()

    def action_hide(self) -> None:
        """Find out what hiding the place does."""
        if self._found is not None and not self._busy:
            self.run_worker(self._hide(self._chosen), group="why")

    async def _hide(self, span: tuple[int, int] | None) -> None:
        if span in self._hidden:
            return
        self._busy = "Hiding that place, and others to compare …"
        self._show()
        try:
            self._hidden[span] = await self._why.evidence(span)
        except VlmchatError as error:
            self._fail(str(error))
            return
        self._busy = ""
        self._show()

    def action_save(self) -> None:
        """Save what is shown as a PNG."""
        if self._found is not None:
            self.run_worker(self._save(), group="why-saving")

    async def _save(self) -> None:
        found, sight = self._found, self._sight
        assert found is not None and sight is not None
        known = self._hidden.get(self._chosen)
        try:
            path = await self._why.save(known or replace(found, chosen=sight), Path.cwd())
        except VlmchatError as error:
            self.app.notify(str(error), severity="error", markup=False)
            return
        self.app.notify(f"Saved as {visible_line(str(path))}.", markup=False)

    # Drawing ----------------------------------------------------------------------------------

    def _show(self) -> None:
        """Say what is shown."""
        if not self.is_mounted:
            return
        names = names_of(self._pictures)
        name = visible_line(names[self._picture]) if names else ""
        place = f"{self._picture + 1}/{len(names)}  " if len(names) > 1 else ""
        sight = self._sight
        share = f"  ·  {sight.share * 100:.0f} % of all attention is on pictures" if sight else ""
        self._say("name", Content(f"{place}{name}{share}"))
        self._say("text", self._text())
        self._say("said", Content(self._sentence(names)))
        more = " · n next picture" if len(names) > 1 else ""
        keys = f"← → words · Home all · Enter hides{more} · s saves · Esc closes"
        self._say("keys", Content(keys))
        self.set_class(bool(self._trouble), "failed")
        self.call_after_refresh(self._draw)  # the picture may have a line less now, or more

    def _say(self, name: str, content: Content) -> None:
        self.query_one(f"#why-{name}", Static).update(content)

    def _text(self) -> Content:
        """Return the answer with the word marked that is looked at, as much as has room."""
        text, span = self._why.text, self._chosen
        if span is None:
            cut = " …" if len(text) > 3 * _AROUND else ""
            return Content(" ".join(visible(text[: 3 * _AROUND]).split()) + cut)
        begin, end = span
        before, behind = text[max(0, begin - _AROUND) : begin], text[end : end + _AROUND]
        lead = "… " if begin > _AROUND else ""
        cut = " …" if end + _AROUND < len(text) else ""
        return Content.assemble(
            lead + visible_line(before.replace("\n", " ")),
            (visible_line(text[begin:end]), "bold reverse"),
            visible_line(behind.replace("\n", " ")) + cut,
        )

    def _sentence(self, names: list[str]) -> str:
        found, sight = self._found, self._sight
        if self._trouble or found is None or sight is None:
            return self._trouble or self._busy
        if (known := self._hidden.get(self._chosen)) is not None:
            return visible_line(known.sentence(names))
        said = replace(found, chosen=sight, hiding=None).sentence(names)
        return visible_line(f"{said} {self._busy or 'Enter hides that place.'}")

    def _draw(self) -> None:
        """Draw anew; while that is done, only the last wish is remembered."""
        self._stale = True
        if not self.is_mounted:
            return
        if self._found is not None and self._pictures and not self._drawing:
            self._drawing = True
            self.run_worker(self._keep_drawing(), group="why-drawing")

    async def _keep_drawing(self) -> None:
        try:
            while self._stale:
                self._stale = False
                await self._redraw()
        finally:
            self._drawing = False

    async def _redraw(self) -> None:
        room, sight, number = self.query_one("#why-room").size, self._sight, self._picture
        if not room or sight is None:
            return
        style = style_of(self.app)
        style = PictureStyle("blocks", cell=style.cell) if style.kind == "off" else style
        ground = self.background_colors[1].rgb
        media, grids = self._pictures[number], sight.shown
        most = max(value for grid in grids for row in grid for value in row)
        place = self._place()
        box = place[1] if place is not None and place[0] == number else None
        known = self._images.get(number)

        def work() -> "tuple[Image, Drawn]":
            from vlmchat.media.overlay import overlaid
            from vlmchat.media.thumbnails import thumbnail

            image = known or thumbnail(media.data, media.sha256, _LARGEST, media.name, media.mime)
            view = view_of(image.size, room.width, room.height, 1.0, (0.5, 0.5), style)
            # On the very pixels that are shown, so that the frame is as thick as one of them.
            shown = shown_part(image, view, style, ground)
            drawn = overlaid(shown, grids[number], box, most)
            return image, prepare(drawn, view.columns, view.rows, style, ground)

        done = await or_sentence(work)
        if not self.is_mounted or number != self._picture:
            return
        if isinstance(done, str):
            self._fail(done)
            return
        self._images[number], drawn = done
        canvas = self.query_one(Canvas)
        canvas.styles.width, canvas.styles.height = drawn.columns, drawn.rows
        canvas.show(drawn)

"""Every medium that was ever attached, and where."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeAlias, TypeVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalGroup
from textual.content import Content
from textual.screen import ModalScreen
from textual.theme import Theme
from textual.widgets import Input, Static

from vlmchat.chat.messages import ImagePart, Media, Region
from vlmchat.errors import VlmchatError
from vlmchat.media.storyboard import sheet_media
from vlmchat.store.records import MediaUse, Shown
from vlmchat.talk.pictures import medium_of
from vlmchat.tui.decoding import in_pool, or_sentence
from vlmchat.tui.drawing import Drawn, fit, lines_only, pixels, prepare, style_of
from vlmchat.tui.media_actions import open_or_tell
from vlmchat.tui.widgets.media_grid import CELL_WIDTH, PICTURE_ROWS, Grouping, MediaGrid

if TYPE_CHECKING:
    from vlmchat.store.store import Store

_T = TypeVar("_T")
_KEYS = "Enter goes there · Space views · a attaches · g groups · / filters"


class AskStore(Protocol):
    """Has a question answered where the store lives."""

    async def __call__(self, work: Callable[["Store"], _T], /) -> _T:
        """Return what `work` returns for the store."""


class GallerySource(Protocol):
    """Who knows the media."""

    async def uses(self) -> list[MediaUse]:
        """Return every place where a medium was attached, newest first."""

    async def titles(self) -> Mapping[int, str]:
        """Return the titles of the conversations by their ids."""

    def data(self, sha256: str) -> bytes:
        """Return a medium's bytes; asked from worker threads.

        Raises:
            VlmchatError: they cannot be read.
        """

    def path(self, sha256: str) -> Path:
        """Return where a medium lies."""


class StoreGallery:
    """The media in the store.

    Args:
        ask: has a question answered in the store's own thread.
        read: returns the bytes of a medium, in any thread.
        where: returns where a medium lies.
    """

    def __init__(
        self, ask: AskStore, read: Callable[[str], bytes], where: Callable[[str], Path]
    ) -> None:
        self._ask = ask
        self._read = read
        self._where = where

    async def uses(self) -> list[MediaUse]:
        """Return every place where a medium was attached, newest first."""
        return await self._ask(lambda store: store.media_uses())

    async def titles(self) -> Mapping[int, str]:
        """Return the titles of the conversations by their ids."""

        def read(store: "Store") -> dict[int, str]:
            threads = [*store.threads(limit=100_000), *store.threads(archived=True, limit=100_000)]
            return {thread.id: thread.title for thread in threads}

        return await self._ask(read)

    def data(self, sha256: str) -> bytes:
        """Return a medium's bytes."""
        return self._read(sha256)

    def path(self, sha256: str) -> Path:
        """Return where a medium lies."""
        return self._where(sha256)


@dataclass(frozen=True, slots=True)
class JumpTo:
    """The person wants to see the conversation where it was used."""

    use: MediaUse


@dataclass(frozen=True, slots=True)
class AttachAgain:
    """The person wants it with the next question, or the part of it that was meant."""

    media: Media
    region: Region | None = None


GalleryChoice: TypeAlias = JumpTo | AttachAgain | None


class Gallery(ModalScreen[GalleryChoice]):
    """Shows the media; returns what the person wants with one of them.

    Args:
        source: where they come from.
    """

    DEFAULT_CSS = """
    Gallery {
        #gallery-filter {
            background: $panel;
            margin: 0 0 1 0;
            & > .input--placeholder {
                color: $muted;
            }
        }
        #gallery-facts {
            height: 1;
            color: $muted;
            text-wrap: nowrap;
            text-overflow: ellipsis;
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Close"),
        Binding("enter", "jump", "Go there", priority=True),
        Binding("space", "view", "View"),
        Binding("a", "attach", "Attach"),
        Binding("g", "group", "Group"),
        Binding("o", "open", "Open outside"),
        Binding("slash", "filter", "Filter"),
    ]

    def __init__(self, source: GallerySource) -> None:
        super().__init__(id="gallery")
        self._source = source
        self._uses: list[MediaUse] = []
        self._titles: Mapping[int, str] = {}
        self._grouping: Grouping = "conversation"
        self._told = "Looking …"

    def compose(self) -> ComposeResult:
        """Lay out the filter, the grid and the facts."""
        with VerticalGroup(id="gallery-dialog", classes="dialog") as dialog:
            dialog.border_title = "Pictures and videos"
            dialog.border_subtitle = _KEYS
            yield Input(placeholder="Filter by name", compact=True, id="gallery-filter")
            yield MediaGrid(self._draw)
            yield Static("Looking …", id="gallery-facts", markup=False)

    def on_mount(self) -> None:
        """Begin in the grid, and fetch what there is."""
        self.query_one(MediaGrid).focus()
        self.app.theme_changed_signal.subscribe(self, self._theme_changed)
        self.run_worker(self._fetch(), group="gallery", exclusive=True)

    async def _fetch(self) -> None:
        try:
            self._uses = await self._source.uses()
            self._titles = await self._source.titles()
        except VlmchatError as error:
            self._told = str(error)
            self._say()
            return
        self._told = "" if self._uses else "No picture or video was attached yet."
        self._show()

    def _theme_changed(self, _: Theme) -> None:
        self.query_one(MediaGrid).clear_pictures()

    def _show(self) -> None:
        wanted = self.query_one(Input).value.casefold().split()
        found = [use for use in self._uses if all(word in use.name.casefold() for word in wanted)]
        self.query_one(MediaGrid).show(found, self._titles, self._grouping)
        self._say()

    def _say(self) -> None:
        shown = len(self.query_one(MediaGrid).uses)
        text = self._told
        if not text:
            count = f"{shown} of {len(self._uses)}" if shown < len(self._uses) else str(shown)
            text = f"{count} {'place' if shown == 1 else 'places'}, by {self._grouping}"
        self.query_one("#gallery-facts", Static).update(Content(text))

    async def _draw(self, shown: Shown) -> Drawn | str:
        """Return a thumbnail for the grid."""
        from vlmchat.media.thumbnails import cached, of_media

        style = lines_only(style_of(self.app))
        size = pixels(CELL_WIDTH, PICTURE_ROWS, style)
        sha256, region = shown
        use = next((item for item in self._uses if item.shown == shown), None)
        if use is None:
            return ""
        ground = self.query_one(MediaGrid).background_colors[1].rgb
        whole = use.width, use.height
        extent = whole if region is None else (region.width, region.height)
        columns, rows = fit(*extent, CELL_WIDTH, PICTURE_ROWS, style)
        try:
            image = await in_pool(lambda: None if region else cached(sha256, size))
            if image is None:
                medium = self._medium(use)
                image = await in_pool(lambda: of_media(medium, size, region))
        except VlmchatError as error:
            return str(error)
        ready = image
        return await or_sentence(lambda: prepare(ready, columns, rows, style, ground))

    # Keys -------------------------------------------------------------------------------------

    def action_leave(self) -> None:
        """Empty the filter first; close the gallery when there is none."""
        field = self.query_one(Input)
        if field.value:
            field.value = ""
            self.query_one(MediaGrid).focus()
        else:
            self.dismiss(None)

    def action_filter(self) -> None:
        """Write in the filter."""
        self.query_one(Input).focus()

    def action_group(self) -> None:
        """Group by date instead of by conversation, and back."""
        self._grouping = "date" if self._grouping == "conversation" else "conversation"
        self._show()

    def action_jump(self) -> None:
        """Go where the medium was used; from the filter, go to the grid."""
        grid = self.query_one(MediaGrid)
        if not grid.has_focus:
            grid.focus()
        elif grid.current is not None:
            self.dismiss(JumpTo(grid.current))

    def action_view(self) -> None:
        """See the medium large, and the others to its sides."""
        from vlmchat.tui.screens.viewer import Viewer

        grid = self.query_one(MediaGrid)
        if grid.current is not None:
            self.app.push_screen(Viewer([self._seen(use) for use in grid.uses], grid.cursor))

    def action_attach(self) -> None:
        """Have the medium attached to the next question."""
        use = self.query_one(MediaGrid).current
        region = use.region if use is not None else None
        self._with_data(lambda media: self.dismiss(AttachAgain(media, region)))

    def action_open(self) -> None:
        """Open the medium in the desktop's viewer."""
        self._with_data(lambda media: open_or_tell(self, media))

    def _with_data(self, then: Callable[[Media], object]) -> None:
        use = self.query_one(MediaGrid).current
        if use is None:
            return

        async def fetch() -> None:
            medium = self._medium(use)
            try:
                # A video may be larger than the memory; whether it is there, decoding it tells.
                await in_pool(lambda: None if medium.file else medium.data)
            except VlmchatError as error:
                self._told = str(error)
                self._say()
                return
            then(medium)

        self.run_worker(fetch(), group="gallery-data", exclusive=True)

    def _seen(self, use: MediaUse) -> Media | ImagePart:
        """Return what the viewer shows: a sheet of frames, or a picture with the part meant."""
        medium = self._medium(use)
        if medium.file is not None:
            return sheet_media(medium)
        return ImagePart(medium, region=use.region)

    def _medium(self, use: MediaUse) -> Media:
        return medium_of(use, self._source.data, self._source.path)

    @on(Input.Changed)
    def _filtered(self) -> None:
        self._show()

    @on(MediaGrid.ReachedTop)
    def _to_filter(self) -> None:
        self.action_filter()

    @on(MediaGrid.Chosen)
    def _chosen(self) -> None:
        self.action_view()

    def on_key(self, event: events.Key) -> None:
        """Go down from the filter into the grid."""
        if event.key == "down" and self.query_one(Input).has_focus:
            event.stop()
            self.query_one(MediaGrid).focus()

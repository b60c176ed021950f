"""Where the turns are shown.

Only what is near the part that is looked at exists as widgets; the rest is two empty spaces of
about the right height: a conversation of ten thousand messages opens and scrolls like one of ten.
"""

import asyncio
import contextlib
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from textual import events
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.layout import WidgetPlacement
from textual.reactive import reactive
from textual.widget import Widget

from vlmchat.talk.turns.tree import Turn
from vlmchat.tui.widgets.welcome import Welcome

# Turns are made before they come into sight: so many screens before, and at most so many at once.
_MARGIN_SCREENS = 1.0
_KEPT_SCREENS = 2.5
_AT_ONCE = 2
_LAYOUT_SECONDS = 1.0
_FEW = 4


@dataclass(eq=False, slots=True)
class Item:
    """One thing in the transcript, which may exist as a widget or not.

    Attributes:
        make: returns its widget.
        size: characters and line breaks in it, from which its height is guessed.
        turn: what it shows, if it is a turn.
        stays: it is kept when another conversation is shown.
        prepare: does, for a width in columns, what is better done aside before the widget is made.
        widget: while it exists.
    """

    make: Callable[[], Widget]
    size: tuple[int, int] = (0, 0)
    turn: Turn | None = None
    stays: bool = False
    prepare: Callable[[int], None] | None = None
    widget: Widget | None = field(default=None, init=False)

    def guess(self, width: int) -> int:
        """Return about how many rows it takes."""
        characters, breaks = self.size
        return 4 + characters // max(width - 6, 20) + breaks


class _End(Widget):
    """Marks where the conversation ends; what lies before it and after the last turn is empty."""

    DEFAULT_CSS = "_End { width: 1; height: 0; }"

    def render(self) -> str:
        """Be empty."""
        return ""


class Transcript(VerticalScroll):
    """All turns, following the newest unless the person scrolled up."""

    behind = reactive(False)
    """Whether there is newer text below what is looked at."""

    def __init__(self) -> None:
        super().__init__(id="transcript")
        self.items: list[Item] = []
        self._low = self._high = 0  # items[low:high] exist as widgets
        # Rows of the turns that do not exist as widgets, before those that do and behind them.
        self._above = self._below = 0
        self._end = _End()
        self._measured: set[Widget] = set()
        self._changing = asyncio.Lock()
        self._filling: asyncio.Task[None] | None = None
        self._following = True

    def compose(self) -> ComposeResult:
        """Begin with the welcome."""
        yield Welcome()
        yield self._end

    def on_mount(self) -> None:
        """Follow what comes."""
        self.anchor()

    def process_layout(self, placements: list[WidgetPlacement]) -> list[WidgetPlacement]:
        """Leave room for the turns that do not exist as widgets.

        Widgets of that height would do the same, but Textual's map of what is where grows with it.
        """
        aside = 10_000
        moved = []
        for item in placements:
            down = self._above + (self._below if item.widget is self._end else 0)
            # Out of sight to the right, a widget's height is found out.
            across = aside if item.widget in self._measured else 0
            moved.append(item._replace(region=item.region.translate((across, down))))
        return moved

    def _leave(self, above: int | None = None, below: int | None = None) -> None:
        """Leave so many rows before and behind the widgets."""
        self._above = self._above if above is None else max(0, above)
        self._below = self._below if below is None else max(0, below)
        self.refresh(layout=True)

    def on_unmount(self) -> None:
        """Stop filling."""
        if self._filling is not None:
            self._filling.cancel()

    # What is shown ----------------------------------------------------------------------------

    def widget_of(self, turn: Turn) -> Widget | None:
        """Return the widget that shows `turn`, if it exists just now."""
        item = self._item_of(turn)
        return item.widget if item else None

    def _item_of(self, turn: Turn) -> Item | None:
        found = (item for item in reversed(self.items) if item.turn is turn)
        return next(found, None)

    async def add(self, item: Item) -> None:
        """Append an item."""
        async with self._changing:
            await self._append(item)

    async def _append(self, item: Item) -> None:
        if item.turn is not None:
            await self.query(Welcome).remove()
        self.items.append(item)
        if self._high == len(self.items) - 1:
            item.widget = item.make()
            self._high += 1
            await self.mount(item.widget, before=self._end)
        else:
            self._leave(below=self._below + item.guess(self.size.width))
        self.mark_behind()

    async def show(self, items: Sequence[Item], keep_notices: bool) -> None:
        """Show these items instead of those, keeping the turns that begin both.

        Args:
            items: all items of a path, oldest first.
            keep_notices: the same conversation is shown, and what the program said in it stays.
        """
        async with self._changing:
            kept = self._common(items) if keep_notices else 0
            stays = [item for item in self.items[kept:] if item.stays]
            turns = sum(item.turn is not None for item in self.items[:kept])
            new = list(items)[turns:]
            if keep_notices and not new:
                stays = [item for item in self.items[kept:] if item.turn is None]
            keep = {id(item) for item in stays}
            gone = [item for item in self.items[kept:] if id(item) not in keep]
            with self.app.batch_update():
                await self._unmake(gone)
                self._low, self._high = min(self._low, kept), min(self._high, kept)
                self.items = self.items[:kept]
                for item in stays:
                    await self._keep(item)
                await self._extend(new)
            if not any(item.turn for item in self.items) and not self.query(Welcome):
                await self.mount(Welcome(), before=0)
            self.anchor()
        self.call_after_refresh(self.fill)

    def _common(self, items: Sequence[Item]) -> int:
        """Return how many of the present items, notices included, go before what is new."""
        wanted = [item.turn for item in items]
        found, kept = 0, 0
        for index, item in enumerate(self.items):
            if item.turn is None:
                continue
            if found == len(wanted) or item.turn is not wanted[found]:
                break
            found, kept = found + 1, index + 1
        return kept

    async def _keep(self, item: Item) -> None:
        """Put an item behind the others, with its widget if it has one."""
        self.items.append(item)
        if self._high == len(self.items) - 1:
            self._high += 1
            if item.widget is None:
                item.widget = item.make()
                await self.mount(item.widget, before=self._end)

    async def _extend(self, new: list[Item]) -> None:
        """Append many items, of which only the last come into being at once."""
        if not new:
            return
        await self.query(Welcome).remove()
        if len(new) <= _FEW and self._high == len(self.items):
            self.items += new
            await self._make_behind(new)
            return
        await self._unmake(self.items)
        self.items += new
        self._low = self._first_of_screen(len(self.items))
        self._high = self._low
        width = self.size.width
        self._leave(above=sum(item.guess(width) for item in self.items[: self._low]))
        self._leave(below=0)
        await self._make_behind(self.items[self._low :])

    def _first_of_screen(self, end: int) -> int:
        """Return which item to begin with for the ones before `end` to fill the screen."""
        rows, first = 0, end
        while first > 0 and (rows < self.size.height or first > end - 2):
            first -= 1
            rows += self.items[first].guess(self.size.width)
        return first

    async def _make_behind(self, items: list[Item]) -> None:
        widgets = []
        for item in items:
            item.widget = await self._made(item)
            widgets.append(item.widget)
        self._high += len(items)
        await self.mount_all(widgets, before=self._end)

    async def _made(self, item: Item) -> Widget:
        """Return an item's widget; a long text is laid out without holding up the screen."""
        if item.prepare is not None:
            made = (other.widget for other in reversed(self.items) if other.turn and other.widget)
            like = next(made, self)
            await asyncio.to_thread(item.prepare, max(1, like.size.width))
        return item.make()

    async def _unmake(self, items: Sequence[Item]) -> None:
        widgets = [item.widget for item in items if item.widget is not None]
        for item in items:
            item.widget = None
        if widgets:
            await self.remove_children(widgets)

    async def reveal(self, turn: Turn) -> Widget | None:
        """Make `turn` exist, scroll to it, and return its widget; none if it is not shown."""
        item = self._item_of(turn)
        if item is None:
            return None
        async with self._changing:
            if item.widget is None:
                await self._jump_to(self.items.index(item))
        assert item.widget is not None
        self.release_anchor()
        item.widget.scroll_visible(animate=False, top=item.widget.size.height > self.size.height)
        self.fill()
        return item.widget

    # Following --------------------------------------------------------------------------------

    @property
    def at_end(self) -> bool:
        """Whether the newest text is in sight."""
        return self._high == len(self.items) and self.scroll_y >= self.max_scroll_y

    def mark_behind(self) -> None:
        """Note that there is new text; it is behind unless the newest is followed."""
        if not self._following:
            self.behind = True

    def anchor(self, anchor: bool = True) -> None:
        """Follow what comes."""
        self._following = anchor
        super().anchor(anchor)

    def release_anchor(self) -> None:
        """Follow no more: the person looks at something else."""
        self._following = False
        super().release_anchor()

    def follow(self) -> None:
        """Go to the end and stay there."""
        self.behind = False
        if self._high < len(self.items):
            self.run_worker(self._jump_to_end(), group="transcript")
        self.anchor()

    async def _jump_to_end(self) -> None:
        async with self._changing:
            await self._jump_to(len(self.items) - 1)
        self.anchor()

    # Making and unmaking ----------------------------------------------------------------------

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Have what comes into sight made."""
        super().watch_scroll_y(old_value, new_value)
        if self.at_end:
            self._following, self.behind = True, False
        self.fill()

    def on_resize(self, event: events.Resize) -> None:
        """Fill what became visible."""
        self.fill()

    def fill(self) -> None:
        """Make and unmake widgets until the surroundings of what is looked at are there."""
        if self._filling is None or self._filling.done():
            self._filling = asyncio.create_task(self._fill())

    async def _fill(self) -> None:
        while self.is_attached:
            async with self._changing:
                if not await self._fill_once():
                    return

    async def _fill_once(self) -> bool:
        """Do the one thing that is most needed; false when all is well."""
        height = self.size.height
        if not height:
            return False
        top, bottom = self.scroll_y, self.scroll_y + height
        low, high = self._above, self.virtual_size.height - self._below
        if (self._low and bottom < low) or (self._high < len(self.items) and top > high):
            await self._jump_to(self._index_at(int(top)))
            return True
        missing = int(low - (top - _MARGIN_SCREENS * height))
        if self._low and missing > 0:
            await self._make_above(self._reaching(self.items[self._low - 1 :: -1], missing))
            return True
        missing = int(bottom + _MARGIN_SCREENS * height - high)
        if self._high < len(self.items) and missing > 0:
            await self._make_below(self._reaching(self.items[self._high :], missing))
            return True
        return await self._unmake_far(top - _KEPT_SCREENS * height, bottom + _KEPT_SCREENS * height)

    def _reaching(self, items: Sequence[Item], rows: int) -> list[Item]:
        """Return the first few of `items`, until they are about so high together."""
        width, found = self.size.width, list[Item]()
        for item in items[:_AT_ONCE]:
            found.append(item)
            rows -= item.guess(width)
            if rows <= 0:
                break
        return found

    async def _make_above(self, items: list[Item]) -> None:
        """Make the items before the first one, without moving what is looked at.

        Args:
            items: from the last to the first.
        """
        for item in items:
            item.widget = widget = await self._made(item)
            # A class for this would have every style below it worked out a second time.
            widget.styles.position = "absolute"
            self._measured.add(widget)
            await self.mount(widget, before=0)
        await self._laid_out()
        self._measured.clear()
        rows = 0
        for item in items:
            if item.widget is not None:
                rows += _rows(item.widget) or item.guess(self.size.width)
                item.widget.styles.clear_rule("position")
                item.widget.refresh(layout=True)  # clearing a rule does not ask for it
        self._low -= len(items)
        spare = self._above - rows
        # The guesses were wrong by this much; it shows only where nothing is left above.
        left = spare if self._low == 0 or spare < 0 else 0
        self._leave(above=0 if self._low == 0 else spare)
        if left and not self._following:
            self.scroll_to(y=self.scroll_y - left, animate=False, force=True, immediate=True)

    async def _make_below(self, items: list[Item]) -> None:
        """Make the items after the last one."""
        rows = sum(item.guess(self.size.width) for item in items)
        last = self._high + len(items) == len(self.items)
        self._leave(below=0 if last else self._below - rows)
        await self._make_behind(items)
        await self._laid_out()

    async def _unmake_far(self, top: float, bottom: float) -> bool:
        """Unmake what lies outside of these rows; false when there is nothing."""
        before, behind, gone = self._above, self._below, list[Item]()
        while self._high - self._low > _FEW:
            first, last = self.items[self._low], self.items[self._high - 1]
            if _idle(first) and before + _rows(first.widget) < top:
                before += _rows(first.widget)
                self._low += 1
                gone.append(first)
            elif _idle(last) and self.virtual_size.height - behind - _rows(last.widget) > bottom:
                behind += _rows(last.widget)
                self._high -= 1
                gone.append(last)
            else:
                break
        if not gone:
            return False
        for item in gone:
            if item.widget is not None:
                item.widget.display = False
        self._leave(above=before, below=behind)
        await self._unmake(gone)
        await self._laid_out()
        return True

    def _index_at(self, row: int) -> int:
        """Return which item about stands at that row of the two spaces."""
        width = self.size.width
        if row < self._above:
            ends = list(accumulate(item.guess(width) for item in self.items[: self._low]))
            scale = ends[-1] / max(1, self._above)
            return min(bisect_right(ends, row * scale), self._low - 1)
        start = self.virtual_size.height - self._below
        ends = list(accumulate(item.guess(width) for item in self.items[self._high :]))
        scale = ends[-1] / max(1, self._below)
        return min(self._high + bisect_right(ends, (row - start) * scale), len(self.items) - 1)

    async def _jump_to(self, index: int) -> None:
        """Make the items around `index` instead of those that exist, and go there."""
        width = self.size.width
        low = max(0, min(index - 1, self._first_of_screen(len(self.items))))
        high = min(len(self.items), low + _FEW)
        with self.app.batch_update():
            await self._unmake(self.items)
            self._low = self._high = low
            self._leave(above=sum(item.guess(width) for item in self.items[:low]))
            self._leave(below=sum(item.guess(width) for item in self.items[high:]))
            await self._make_behind(self.items[low:high])
        await self._laid_out()
        widget = self.items[index].widget
        if widget is not None:
            self.scroll_to_widget(widget, animate=False, top=True, force=True, immediate=True)
        await self._laid_out()

    async def _laid_out(self) -> None:
        """Wait until what was changed has its place on the screen."""
        done = asyncio.Event()
        self.call_after_refresh(done.set)
        with contextlib.suppress(TimeoutError):
            # Below another screen nothing is laid out.
            await asyncio.wait_for(done.wait(), _LAYOUT_SECONDS)


def _rows(widget: Widget | None) -> int:
    """Return how many rows a widget takes, its margin included."""
    if widget is None or not widget.outer_size.height:
        return 0
    return widget.outer_size.height + widget.styles.margin.bottom


def _idle(item: Item) -> bool:
    """Say whether an item can be unmade: it exists, and the person is not in it."""
    return item.widget is not None and not item.widget.has_focus_within

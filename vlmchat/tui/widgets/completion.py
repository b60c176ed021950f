"""The list of what a command line can go on with, directly above the composer."""

import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Literal, TypeAlias

from rich.cells import cell_len, set_cell_size
from textual import events
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.worker import Worker, WorkerState

from vlmchat.talk.commands.base import Completion, Completions, Found
from vlmchat.text import visible_line

MOST_ROWS = 8
_WIDEST_LABEL = 34
Source: TypeAlias = Callable[[str], tuple[str, Found]]
Step: TypeAlias = Literal["accept", "accept if sure", "down", "up"]


class CompletionPopup(Widget):
    """Shows completions and knows which one is meant; the composer keeps the focus and the keys.

    It belongs into the composer's frame, as its first child: it takes no room there, and is drawn
    over what lies above the frame.

    Args:
        source: returns the part of a line that stays and the items for the rest.
    """

    DEFAULT_CSS = """
    CompletionPopup {
        overlay: screen;
        width: 100%;
        height: 1;
        display: none;
        background: $panel;
        color: $foreground;
        text-wrap: nowrap;
        text-overflow: ellipsis;
    }
    """

    class Chosen(Message):
        """An item was clicked, or the accepting key waited for the list and can go on.

        Attributes:
            line: the whole line as it reads with the item.
        """

        def __init__(self, line: str) -> None:
            super().__init__()
            self.line = line

    def __init__(self, source: Source) -> None:
        super().__init__(id="completion")
        self._source = source
        self._line: str | None = None
        self._head = ""
        self._items: list[Completion] = []
        self._index: int | None = None
        self._top = 0
        self._waiting: Worker[Completions] | None = None
        self._found: Awaitable[Completions] | None = None
        self._next: Step | None = None
        self._put_away = ""

    # What the composer asks ------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether there is a list to move in."""
        return bool(self._items)

    @property
    def is_coming(self) -> bool:
        """Whether a list is being made."""
        return self._waiting is not None

    @property
    def moved(self) -> bool:
        """Whether an item was moved to."""
        return self._index is not None

    @property
    def items(self) -> tuple[Completion, ...]:
        """What is in the list."""
        return tuple(self._items)

    def look(self, line: str, again: bool = False) -> None:
        """Show what `line` can go on with.

        Args:
            line: what is written.
            again: also where the person has put the list away.
        """
        stem = line[: line.rfind(" ") + 1] or "/"
        if again or stem != self._put_away:
            self._put_away = ""
        elif line != self._line:
            self._line = line
            return
        if line == self._line and not again:
            return
        self._forget_worker()
        self._line = line
        head, found = self._source(line)
        if not inspect.isawaitable(found):
            self._show(head, list(found))
            return
        # Until the new list is there, what of the old one still fits stays.
        fitting = [item for item in self._items if (self._head + item.text).startswith(line)]
        self._show(head, fitting if head == self._head else [])
        self._found = found
        self._waiting = self.run_worker(
            partial(_result, found), group="completion", exclusive=True, exit_on_error=False
        )

    def close(self) -> None:
        """Forget the list."""
        self._forget_worker()
        self._line, self._put_away = None, ""
        if self._items:
            self._show("", [])

    def put_away(self) -> None:
        """Close the list until another part of the line is begun, or `look` is told so."""
        line = self._line or ""
        self.close()
        self._line = line
        self._put_away = line[: line.rfind(" ") + 1] or "/"

    def move(self, step: int) -> None:
        """Move to the next or the previous item, round the ends."""
        if self.is_coming:
            self._next = "down" if step > 0 else "up"
            return
        takeable = [at for at, item in enumerate(self._items) if not self._is_hint(item)]
        if not takeable:
            return
        if self._index in takeable:
            at = (takeable.index(self._index) + step) % len(takeable)
        else:
            at = 0 if step > 0 else len(takeable) - 1
        self._index = takeable[at]
        rows = self._rows
        self._top = min(max(self._top, self._index - rows + 1), self._index)
        self.refresh()

    def accept(self, only_sure: bool = False) -> str | None:
        """Return the line with the item moved to, or with what all items share, or the first.

        ``None`` when there is nothing to take, or when the list is still being made: then
        `Chosen` follows.

        Args:
            only_sure: whether to take no item out of several that nobody has seen yet.
        """
        if self.is_coming:
            self._next = "accept if sure" if only_sure else "accept"
            return None
        takeable = [item for item in self._items if not self._is_hint(item)]
        if self._index is not None:
            return self._head + self._items[self._index].text
        if not takeable:
            return None
        written = self._line or ""
        alike = [item.text for item in takeable if (self._head + item.text).startswith(written)]
        if alike and alike[0] == takeable[0].text:
            line = self._head + _shared(alike)
            if len(line) > len(written):
                return line
        if only_sure and len(takeable) > 1:
            return None
        return self._head + takeable[0].text

    # The list ----------------------------------------------------------------------------------

    @property
    def _rows(self) -> int:
        return min(MOST_ROWS, len(self._items), max(1, self._room()))

    def _room(self) -> int:
        frame = self.parent
        return frame.region.y if isinstance(frame, Widget) and frame.region.y else MOST_ROWS

    def _is_hint(self, item: Completion) -> bool:
        return self._head + item.text == self._line

    def _show(self, head: str, items: list[Completion]) -> None:
        self._head, self._items = head, items
        self._index, self._top = None, 0
        if len(items) == 1 and self._is_hint(items[0]):
            item = items[0]
            if (head + item.text).endswith(item.label or item.text):
                self._items = []  # it is written already, and says nothing more
        self._place()
        self.refresh()

    def _place(self) -> None:
        rows = self._rows
        if self._items:
            # The frame's border is between its first row and this list.
            self.styles.height = rows
            self.styles.offset = (0, -(rows + 1))
        self.display = bool(self._items)

    def _forget_worker(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
            # A key came before the worker had begun: nobody will await this any more.
            found = self._found
            if inspect.iscoroutine(found) and inspect.getcoroutinestate(found) == "CORO_CREATED":
                found.close()
        self._next = None

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Show the list that was made, unless the line has moved on."""
        event.stop()
        if event.worker is not self._waiting:
            return
        if event.state in (WorkerState.ERROR, WorkerState.CANCELLED):
            self._waiting = self._next = None
            self._show(self._head, [])
        elif event.state == WorkerState.SUCCESS:
            step, self._waiting, self._next = self._next, None, None
            self._show(self._head, list(event.worker.result or ()))
            if step in ("up", "down"):
                self.move(1 if step == "down" else -1)
            elif step and (line := self.accept(step == "accept if sure")) is not None:
                self.post_message(self.Chosen(line))

    def on_click(self, event: events.Click) -> None:
        """Take the item that was clicked."""
        event.stop()
        at = self._top + event.y
        if at < len(self._items) and not self._is_hint(self._items[at]):
            self.post_message(self.Chosen(self._head + self._items[at].text))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Move on."""
        event.stop()
        self._scroll(1)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Move back."""
        event.stop()
        self._scroll(-1)

    def _scroll(self, step: int) -> None:
        self._top = min(max(0, self._top + step), max(0, len(self._items) - self._rows))
        self.refresh()

    def render(self) -> Content:
        """Return the rows: label and help, the item moved to in the colours of the cursor."""
        width = self.size.width
        items = self._items[self._top : self._top + self._rows]
        labels = [visible_line(item.label or item.text) for item in self._items]
        column = min(max(map(cell_len, labels), default=0), _WIDEST_LABEL, max(8, width // 2))
        more = len(self._items) > len(items)
        return Content("\n").join(
            self._row(item, self._top + row, column, width, self._mark(row) if more else " ")
            for row, item in enumerate(items)
        )

    def _row(self, item: Completion, at: int, column: int, width: int, mark: str) -> Content:
        chosen = at == self._index
        label = _cut(
            visible_line(item.label or item.text),
            width - 3 if not (item.help or item.reason) else column,
        )
        rest = visible_line(item.reason or item.help)
        room = max(0, width - 4 - max(column, cell_len(label)))
        line_style = "$block-cursor-foreground on $block-cursor-background" if chosen else ""
        name_style = line_style or ("$muted" if item.reason else "$primary")
        rest_style = line_style or "$muted"
        if item.reason and not chosen:
            rest_style += " italic"
        body = set_cell_size(label, max(column, cell_len(label))) if rest else label
        tail = f"  {_cut(rest, room)}" if rest and room > 4 else ""
        used = 1 + cell_len(body) + cell_len(tail)
        return Content.assemble(
            (f" {body}", name_style),
            (tail, rest_style),
            (" " * max(0, width - used - 1), line_style),
            (mark, line_style or "$muted"),
        )

    def _mark(self, row: int) -> str:
        """Return the piece of a scrollbar that stands behind `row`."""
        rows, count = self._rows, len(self._items)
        size = max(1, rows * rows // count)
        begin = round(self._top * (rows - size) / max(1, count - rows))
        return "▐" if begin <= row < begin + size else " "


def _shared(texts: list[str]) -> str:
    """Return what all `texts` begin with."""
    first, last = min(texts), max(texts)
    pairs = enumerate(zip(first, last, strict=False))
    same = next((at for at, (one, other) in pairs if one != other), min(len(first), len(last)))
    common = first[:same]
    # An escape and what it escapes go together.
    return common[:-1] if (len(common) - len(common.rstrip("\\"))) % 2 else common


def _cut(text: str, width: int) -> str:
    return text if cell_len(text) <= width else set_cell_size(text, max(0, width - 1)) + "…"


async def _result(found: Awaitable[Completions]) -> Completions:
    return await found

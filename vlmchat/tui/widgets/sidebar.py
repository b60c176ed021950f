"""The list of conversations, beside the chat."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalGroup
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from vlmchat.text import visible_line
from vlmchat.tui.tiny import COLUMNS

if TYPE_CHECKING:
    from vlmchat.store.records import Thread

# A blank that is no space: those are taken away at the beginning of a line, and after pictures.
_BLANK = "\u2800"
# Conversations further down show a sign instead of their picture.
_MOST_PICTURES = 200


def when(seconds: float, now: datetime) -> str:
    """Return a time as short as it can be told apart (``14:05``, ``Tue``, ``3 Nov``)."""
    then = datetime.fromtimestamp(seconds).astimezone()
    if then.date() == now.date():
        return f"{then:%H:%M}"
    if now - then < timedelta(days=6):
        return f"{then:%a}"
    return f"{then.day} {then:%b}" if then.year == now.year else f"{then:%Y-%m}"


class Sidebar(VerticalGroup):
    """Titles and dates; the keys of what can be done with a conversation work on the list."""

    DEFAULT_CSS = """
    Sidebar {
        dock: left;
        width: 34;
        max-width: 45%;
        height: 100%;
        background: $surface;
        border-right: outer $border-blurred;
        padding: 0 1;
        /* The footer lies over the last line. */
        margin-bottom: 1;
    }
    Sidebar .sidebar-title { color: $primary; text-style: bold; height: 1; }
    Sidebar Input {
        background: $panel; margin-bottom: 1;
        & > .input--placeholder { color: $muted; }
    }
    Sidebar OptionList { height: 1fr; text-wrap: nowrap; text-overflow: ellipsis; }
    Sidebar .sidebar-hint { color: $muted; height: auto; margin-top: 1; }
    """

    class Chosen(Message):
        """A conversation is to be opened."""

        def __init__(self, thread: int) -> None:
            super().__init__()
            self.thread = thread

    class Changed(Message):
        """Something is to be done with a conversation.

        Attributes:
            what: ``rename``, ``pin``, ``archive``, ``delete``, ``undelete``, ``archived`` (show
                archived ones or not) or ``close``.
        """

        def __init__(self, what: str, thread: int | None) -> None:
            super().__init__()
            self.what = what
            self.thread = thread

    class _List(OptionList):
        BINDINGS: ClassVar[list[BindingType]] = [
            Binding("n", "ask('new')", "New"),
            Binding("r", "ask('rename')", "Rename"),
            Binding("p", "ask('pin')", "Pin"),
            Binding("a", "ask('archive')", "Archive"),
            Binding("d,delete", "ask('delete')", "Delete"),
            Binding("u", "ask('undelete')", "Undo"),
            Binding("v", "ask('archived')", "Archived", show=False),
            Binding("slash", "filter", "Filter", show=False),
            Binding("escape", "ask('close')", "Close", show=False),
        ]

        def action_ask(self, what: str) -> None:
            """Ask for it."""
            parent = self.parent
            assert isinstance(parent, Sidebar)
            self.post_message(Sidebar.Changed(what, parent.highlighted))

        def action_filter(self) -> None:
            """Go to the field above."""
            parent = self.parent
            assert isinstance(parent, Sidebar)
            parent.query_one(Input).focus()

    def __init__(self) -> None:
        super().__init__(id="sidebar")
        self._threads: Sequence[Thread] = ()
        self._shown: list[Thread] = []
        self._pictures: Mapping[int, str] = {}
        self._tiny: dict[str, list[Content]] = {}
        self._current: int | None = None
        self.archived = False

    def compose(self) -> ComposeResult:
        """Lay out filter, list and hint."""
        yield Static("", classes="sidebar-title", markup=False)
        yield Input(placeholder="Filter titles", compact=True)
        yield Sidebar._List(compact=True, markup=False)
        yield Static("", classes="sidebar-hint", markup=False)

    @property
    def highlighted(self) -> int | None:
        """The number of the conversation with the highlight."""
        place = self.query_one(OptionList).highlighted
        return self._shown[place].id if place is not None and place < len(self._shown) else None

    def focus_list(self) -> None:
        """Let the arrow keys choose."""
        self.query_one(OptionList).focus()

    def show(
        self, threads: Sequence["Thread"], pictures: Mapping[int, str], current: int | None
    ) -> None:
        """Draw these conversations.

        Args:
            threads: in the order they stand in.
            pictures: the digest of a picture of those that have any.
            current: the one that is open.
        """
        one_less = len(threads) + 1 == len(self._threads)
        self._threads, self._pictures, self._current = threads, pictures, current
        self._draw(one_less)

    @on(Input.Changed)
    def _filter(self) -> None:
        self._draw()

    def _draw(self, one_less: bool = False) -> None:
        wanted = self.query_one(Input).value.strip().casefold()
        before, at = self.highlighted, self.query_one(OptionList).highlighted
        now = datetime.now().astimezone()
        self._shown = [item for item in self._threads if wanted in item.title.casefold()]
        lines = self.query_one(OptionList)
        lines.set_options([Option(self._line(item, now)) for item in self._shown])
        numbers = [item.id for item in self._shown]
        place = next((n for n in (before, self._current) if n in numbers), None)
        if one_less and before not in numbers and at is not None and numbers:
            # It was deleted or put away: the next one takes its place.
            lines.highlighted = min(at, len(numbers) - 1)
        elif numbers:
            lines.highlighted = numbers.index(place) if place is not None else 0
        self._tell(bool(wanted))

    def _tell(self, filtered: bool) -> None:
        title = "Archived" if self.archived else "Conversations"
        self.query_one(".sidebar-title", Static).update(f"{title} ({len(self._shown)})")
        other = "v goes back" if self.archived else "v archived"
        hint = f"Enter opens · / filters\n{other} · Esc closes"
        if not self._shown:
            what = "archived" if self.archived else "saved"
            none = "No title is like that." if filtered else f"Nothing is {what} yet."
            hint = f"{none}\n{hint}"
        self.query_one(".sidebar-hint", Static).update(hint)

    def _line(self, thread: "Thread", now: datetime) -> Content:
        """Return two rows: picture and title, and the date below."""
        here = thread.id == self._current
        title = visible_line(thread.title) or "untitled"
        about = when(thread.updated, now) + (" · pinned" if thread.pinned else "")
        digest = self._pictures.get(thread.id, "")
        blank = Content(_BLANK * COLUMNS)
        sign = Content("▣".center(COLUMNS, _BLANK)) if digest else blank
        upper, lower = self._tiny.get(digest) or (blank, sign)
        return Content.assemble(
            *(upper, (f"{_BLANK}{'▸' if here else _BLANK}{title}", "bold" if here else ""), "\n"),
            *(lower, _BLANK * 2, (about, "dim")),
        )

    def wanted(self) -> list[str]:
        """Return the digests of the pictures that are to be seen and are not drawn yet."""
        digests = (self._pictures.get(item.id, "") for item in self._shown[:_MOST_PICTURES])
        return [digest for digest in dict.fromkeys(digests) if digest and digest not in self._tiny]

    def picture(self, digest: str, lines: list[Content]) -> None:
        """Draw a picture where it belongs."""
        self._tiny[digest] = lines
        now = datetime.now().astimezone()
        options = self.query_one(OptionList)
        for place, thread in enumerate(self._shown):
            if self._pictures.get(thread.id) == digest:
                options.replace_option_prompt_at_index(place, self._line(thread, now))

    @on(Input.Submitted)
    def _filtered(self) -> None:
        self.focus_list()

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.post_message(self.Chosen(self._shown[event.option_index].id))

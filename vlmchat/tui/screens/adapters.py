"""The adapter shelf: what was learned, which of it is on, and what can be done with it."""

import asyncio
from collections.abc import Callable
from threading import Event
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

from rich.cells import cell_len, set_cell_size
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalGroup, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from vlmchat.errors import UsageError, VlmchatError
from vlmchat.models.adapter import OFF
from vlmchat.talk.adapters import COLUMNS, ShelfRow, shelf_rows
from vlmchat.talk.commands.engine import remote_reason
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from vlmchat.models.progress import Progress
    from vlmchat.tui.screens.chat import ChatScreen

_KEYS = "Enter uses it · o off · r rename · d delete · x export · m merge"
_EMPTY = "No adapter yet: fine-tuning makes one; /adapter PATH uses one from elsewhere."
# Cells of each column at most; a narrow terminal has no room for the last one.
_MOST = (20, 13, 13, 5, 7, 10)
_WIDE = 96
_Asked: TypeAlias = Literal["rename", "export", "merge"]
_QUESTIONS: dict[_Asked, str] = {
    "rename": "New name",
    "export": "Folder to copy it to",
    "merge": "Folder for the merged model",
}


def open_shelf(chat: "ChatScreen") -> None:
    """Show the shelf over the chat."""
    chat.app.push_screen(AdapterShelf(chat))


class AdapterShelf(ModalScreen[None]):
    """Lists the adapters, and does with them what the person wants.

    Args:
        chat: whose engine answers with them.
    """

    DEFAULT_CSS = """
    AdapterShelf {
        #shelf-dialog { width: 96%; max-width: 110; }
        #shelf-head {
            height: 1;
            padding-left: 2;
            color: $muted;
            text-wrap: nowrap;
            text-overflow: ellipsis;
        }
        OptionList { height: 2fr; text-wrap: nowrap; text-overflow: ellipsis; }
        #shelf-about {
            height: 3fr;
            border-top: solid $border;
            scrollbar-size-vertical: 1;
        }
        #shelf-said { height: auto; max-height: 4; color: $muted; }
        Input { background: $panel; display: none; }
        Input.asked { display: block; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Close"),
        Binding("o", "off", "Off"),
        Binding("r", "ask('rename')", "Rename"),
        Binding("d", "delete", "Delete"),
        Binding("x", "ask('export')", "Export"),
        Binding("m", "ask('merge')", "Merge"),
    ]

    def __init__(self, chat: "ChatScreen") -> None:
        super().__init__(id="adapters")
        self._chat = chat
        self._rows: list[ShelfRow] = []
        self._asked: _Asked | None = None
        self._doomed: ShelfRow | None = None

    def compose(self) -> ComposeResult:
        """Lay out the list, what is known about one, and the line that speaks and asks."""
        with VerticalGroup(id="shelf-dialog", classes="dialog") as dialog:
            dialog.border_title = "Adapters"
            dialog.border_subtitle = _KEYS
            yield Static("", id="shelf-head", markup=False)
            yield OptionList()
            with VerticalScroll(id="shelf-about", classes="pager-body"):
                yield Static("", id="shelf-facts", markup=False)
            yield Input(compact=True, select_on_focus=False)
            yield Static("Looking …", id="shelf-said", markup=False)

    def on_mount(self) -> None:
        """Begin in the list, and read what there is."""
        self.query_one(OptionList).focus()
        self.run_worker(self._read(""), group="shelf", exclusive=True)

    @property
    def _on(self) -> str:
        model = self._chat.session.engine.model
        return model.adapter if model else ""

    @property
    def _current(self) -> ShelfRow | None:
        place = self.query_one(OptionList).highlighted
        return self._rows[place] if place is not None and place < len(self._rows) else None

    def say(self, text: str) -> None:
        """Put one sentence at the bottom."""
        if self.is_mounted:
            self.query_one("#shelf-said", Static).update(Content(text))

    async def _read(self, said: str, name: str = "") -> None:
        """Read the shelf anew; say `said`, and stay at the adapter called `name`."""
        try:
            self._rows = await asyncio.to_thread(shelf_rows, self._on)
        except VlmchatError as error:
            self.say(str(error))
            return
        wanted = name or next((row.name for row in self._rows if row.on), "")
        widths = self._widths()
        head = ("name", *COLUMNS)
        self.query_one("#shelf-head", Static).update(Content(_cells(head, widths)))
        lines = self.query_one(OptionList)
        lines.set_options([Option(self._line(row, widths)) for row in self._rows])
        names = [row.name for row in self._rows]
        if names:
            lines.highlighted = names.index(wanted) if wanted in names else 0
        else:
            self.query_one("#shelf-facts", Static).update("")
        self.say(said or " ".join(filter(None, ("" if names else _EMPTY, self._beneath()))))

    def _beneath(self) -> str:
        """Return how it stands with the adapter that the model brings along, which has no row."""
        model = self._chat.session.engine.model
        if model is None or not model.own_adapter:
            return ""
        own = visible_line(model.own_adapter)
        if model.adapter == OFF:
            return f"The model's own, {own}, is off: /adapter {own} lays it on again."
        way = "once no other is on, " if model.adapter else ""
        return f"The model's own, {own}, is on: {way}o takes it off."

    def _widths(self) -> list[int]:
        table = [("name", *COLUMNS), *((visible_line(r.name), *r.columns) for r in self._rows)]
        columns = zip(*table, strict=True)
        widths = [
            min(most, max(map(cell_len, column)))
            for most, column in zip(_MOST, columns, strict=True)
        ]
        return widths if self.size.width >= _WIDE else widths[:-1]

    def _line(self, row: ShelfRow, widths: list[int]) -> Content:
        cells = _cells((visible_line(row.name), *row.columns), widths)
        return Content.styled(("● " if row.on else "○ ") + cells, "bold" if row.on else "")

    @on(OptionList.OptionHighlighted)
    def _moved(self) -> None:
        row = self._current
        if row is None:
            return
        width = max(cell_len(title) for title, _ in row.facts)
        lines = [
            Content.assemble((set_cell_size(title, width + 2), "dim"), value)
            for title, value in row.facts
        ]
        if row.on:
            lines.insert(0, Content.styled("It is on.", "bold"))
        self.query_one("#shelf-facts", Static).update(Content("\n").join(lines))
        self.query_one("#shelf-about").scroll_home(animate=False)

    # Which one is on --------------------------------------------------------------------------

    @on(OptionList.OptionSelected)
    def _use(self) -> None:
        row = self._current
        if row is not None and row.on:
            self.say(f"{visible_line(row.name)} is on already.")
        elif row is not None and self._change(row.name):
            self.dismiss(None)

    def action_off(self) -> None:
        """Answer without an adapter from here on."""
        model = self._chat.session.engine.model
        if not self._on and not (model and model.own_adapter):
            self.say("No adapter is on.")
        elif self._change(OFF):
            self.dismiss(None)

    def _change(self, name: str) -> bool:
        """Have the engine use an adapter, or none; false, with the reason said, if it cannot."""
        try:
            if reason := remote_reason(self._chat, "adapter"):
                raise UsageError(reason)
            self._chat.change_engine(adapter=name)
        except VlmchatError as error:
            self.say(str(error))
            return False
        return True

    # What else can be done with it ------------------------------------------------------------

    def action_leave(self) -> None:
        """Take back a question first; close the shelf when there is none."""
        if self._asked is not None:
            self._answered()
        else:
            self.dismiss(None)

    def action_ask(self, what: _Asked) -> None:
        """Ask for a name or a folder."""
        row = self._current
        if row is None:
            return
        self._asked = what
        field = self.query_one(Input)
        field.value = self._proposal(what, row.name)
        field.cursor_position = len(field.value)
        field.add_class("asked")
        field.focus()
        self.say(f"{_QUESTIONS[what]}, Enter to go on, Esc to leave it.")

    def _proposal(self, what: _Asked, name: str) -> str:
        from pathlib import Path

        from vlmchat import paths

        if what == "rename":
            return name
        folder = Path.cwd() if what == "export" else paths.data_dir() / "models"
        return str(folder / name)

    def _answered(self) -> None:
        self._asked = None
        self.query_one(Input).remove_class("asked")
        self.query_one(OptionList).focus()
        self.say("")

    @on(Input.Submitted)
    def _given(self, event: Input.Submitted) -> None:
        what, row, text = self._asked, self._current, event.value.strip()
        self._answered()
        if row is None or not text:
            return
        if what == "rename":
            self.run_worker(self._rename(row, text), group="shelf")
        elif what == "export":
            self.run_worker(self._export(row, text), group="shelf")
        elif what == "merge":
            # The chat's, so that it goes on when the shelf is closed.
            self._chat.run_worker(self._merge(row, text), group="merge")

    async def _rename(self, row: ShelfRow, new: str) -> None:
        from vlmchat.talk.adapters import rename

        try:
            named = (await asyncio.to_thread(rename, row.name, new)).name
        except VlmchatError as error:
            self.say(str(error))
            return
        if row.on:
            self._change(named)  # where the engine would look for it when it is restarted
        await self._read(f"It is called {visible_line(named)} now.", named)

    async def _export(self, row: ShelfRow, text: str) -> None:
        from vlmchat.finetune.shelf import export
        from vlmchat.talk.desktop.pasted import expand

        try:
            folder = await asyncio.to_thread(export, row.name, expand(text).absolute())
        except VlmchatError as error:
            self.say(str(error))
            return
        self.say(f"The adapter is in {visible_line(str(folder))}: PEFT and vLLM load it.")

    async def _merge(self, row: ShelfRow, text: str) -> None:
        from vlmchat.finetune.merging import Merged, merge
        from vlmchat.finetune.shelf import open_adapter
        from vlmchat.talk.desktop.pasted import expand

        stop, app = Event(), self._chat.app

        def progress(step: "Progress") -> None:
            count = f" ({step.done + 1} of {step.total})" if step.total > 1 else ""
            app.call_from_thread(self.say, f"{visible_line(step.text)}{count} …")

        def work() -> Merged:
            return merge(open_adapter(row.name), expand(text), progress=progress, stop=stop)

        self.say("Merging: it goes on when you close this.")
        try:
            found = await asyncio.to_thread(work)
        except VlmchatError as error:
            self._tell(str(error), self._complain)
            return
        except asyncio.CancelledError:
            stop.set()
            raise
        self._tell(f"{found.sentence()} /model {found.folder} answers with it.", self._chat.notice)

    def _complain(self, sentence: str) -> None:
        self._chat.notice(sentence, "error")

    def _tell(self, sentence: str, elsewhere: Callable[[str], None]) -> None:
        """Say how it ended, in the chat if the shelf is closed."""
        if self.is_attached and self.app.screen is self:
            self.say(sentence)
        else:
            elsewhere(sentence)

    def action_delete(self) -> None:
        """Ask whether it shall go for good."""
        self._doomed = self._current
        if self._doomed is not None:
            name = visible_line(self._doomed.name)
            self.say(f"Delete {name} for good? y deletes it, any other key keeps it.")

    def on_key(self, event: events.Key) -> None:
        """Take the answer to that question."""
        doomed, self._doomed = self._doomed, None
        if doomed is None:
            return
        event.stop()
        event.prevent_default()
        if event.key == "y":
            self.run_worker(self._delete(doomed), group="shelf")
        else:
            self.say(f"{visible_line(doomed.name)} stays.")

    async def _delete(self, row: ShelfRow) -> None:
        from vlmchat.talk.adapters import delete

        if row.on and not self._change(""):
            return
        try:
            await asyncio.to_thread(delete, row.name)
        except VlmchatError as error:
            self.say(str(error))
            return
        await self._read(f"{visible_line(row.name)} is deleted.")


def _cells(texts: tuple[str, ...], widths: list[int]) -> str:
    cells = [
        set_cell_size(
            text if cell_len(text) <= width else set_cell_size(text, width - 1) + "…", width
        )
        for text, width in zip(texts, widths, strict=False)
    ]
    return "  ".join(cells).rstrip()

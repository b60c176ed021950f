"""The first step: what was read, what is left out and why, and how an example is rendered."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import HorizontalGroup, VerticalGroup, VerticalScroll
from textual.content import Content
from textual.widgets import Input, Static

from vlmchat.errors import VlmchatError
from vlmchat.talk.finetuning.fields import OF_THE_DATA, run_fields
from vlmchat.talk.finetuning.flow import Allowance, Finetuning, ReadingCancelledError
from vlmchat.talk.finetuning.summary import LeftOut, left_out, place_words, previewed, rows_of
from vlmchat.text import visible, visible_line
from vlmchat.tui.screens.finetune.asking import Asking
from vlmchat.tui.screens.finetune.step import StepScreen, keys_line, step_title

if TYPE_CHECKING:
    from vlmchat.tui.screens.chat import ChatScreen

_PAGE = 100
_ALLOW: dict[str, Allowance] = {"file": "file", "folder": "folder", "no": "no", "none": "none"}
_LEGEND = "bold underline"
_LABELS = {"validation_share": "Validation", "seed": "Seed", "context": "Longest row"}


class DataScreen(StepScreen):
    """Shows what the data is worth.

    Args:
        chat: that it was opened from.
        flow: what is being prepared.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Close"),
        Binding("enter,ctrl+s", "on", "Go on"),
        Binding("right,n", "step(1)", "Next"),
        Binding("left,p", "step(-1)", "Previous"),
        Binding("l", "list", "Left out"),
        Binding("u", "unrated", "Unrated"),
        Binding("r", "read", "Read again"),
    ]
    DEFAULT_CSS = """
    DataScreen {
        #data-table { height: auto; max-height: 12; }
        #data-split { height: 1; margin-top: 1; display: none;
            Static { width: auto; color: $muted; margin-right: 1; }
            Input { width: 11; margin-right: 3; }
        }
        #data-head { height: auto; margin-top: 1; color: $muted; }
        #data-pane { height: 1fr; background: $panel; padding: 0 1; }
        #data-text { width: 100%; }
    }
    """

    def __init__(self, chat: "ChatScreen", flow: Finetuning) -> None:
        super().__init__(chat, "finetune-data")
        self.flow = flow
        self.reading = False
        self._cancelling = False
        self._place = 0
        self._listed = False
        self._left_out: list[LeftOut] = []
        self._fields = run_fields(lambda: flow.settings)

    def compose(self) -> ComposeResult:
        """Lay out the table, the split, and the pane below."""
        with VerticalGroup(classes="dialog step-dialog") as dialog:
            dialog.border_title = step_title(0, visible_line(self.flow.origin.title))
            yield Static("", id="data-table", markup=False)
            with HorizontalGroup(id="data-split"):
                for name in OF_THE_DATA:
                    yield Static(_LABELS[name], markup=False)
                    field = self._fields[name]
                    shown = field.written(getattr(self.flow.settings, name))
                    empty = "what fits" if name == "context" else ""
                    yield Input(shown, placeholder=empty, compact=True, id=f"data-{name}")
            yield Static("", id="data-head", markup=False)
            with VerticalScroll(id="data-pane"):
                yield Static("", id="data-text", markup=False)
            yield Static("", classes="step-said", markup=False)

    def on_mount(self) -> None:
        """Begin to read."""
        self.query_one("#data-pane").focus()
        self.say("")
        self.action_read()

    async def on_unmount(self) -> None:
        """Remove what was unpacked; whoever made a job of it has it by now."""
        await asyncio.to_thread(self.flow.close)

    # Reading ----------------------------------------------------------------------------------

    def action_read(self) -> None:
        """Read the data, again if it was read before."""
        if not self.reading:
            self.reading, self._cancelling = True, False
            self._told(0)
            self._show_keys()
            self.run_worker(self._read(), group="reading")

    async def _read(self) -> None:
        try:
            await self.flow.read(self._told, self._ask)
            self._left_out = await asyncio.to_thread(left_out, self.flow.report)
            self._place = 0
            self.say("")
        except ReadingCancelledError as error:
            self.say(f"{error} r reads again.", trouble=True)
        except VlmchatError as error:
            self.say(str(error), trouble=True)
        finally:
            self.reading = False
        await self._part()

    def _told(self, rows: int) -> None:
        if self.reading:
            count = f"{rows:,} rows so far" if rows else "the first rows"
            self.say(f"Reading: {count} … Esc cancels.")

    async def _ask(self, path: Path) -> Allowance:
        self.say("Reading waits for your answer.")
        folder = visible_line(str(path.parent))
        answered: asyncio.Future[Allowance] = asyncio.get_running_loop().create_future()

        def taken(answer: str | None) -> None:
            if not answered.done():  # reading may have been left meanwhile
                answered.set_result(_ALLOW.get(answer or "no", "no"))

        await self.app.push_screen(
            Asking(
                "A file outside the log's folder",
                f"A row names {visible_line(str(path))}. Read it?",
                f"It lies outside the log's folder. “Folder” allows all that is in {folder}, "
                "“Refuse all” all others that are asked about.",
                {"file": "This file", "folder": "Folder", "none": "Refuse all", "no": "No"},
            ),
            taken,
        )
        return await answered

    def action_unrated(self) -> None:
        """Let replies teach that nobody rated, or leave them out again."""
        self.flow.unrated = not self.flow.unrated
        self.action_read()

    # Showing ----------------------------------------------------------------------------------

    async def _part(self) -> None:
        """Part the rows anew and show everything."""
        rows = await asyncio.to_thread(self._rows)
        report = self.flow.report
        if not report.usable and self._left_out:
            self._listed = True
        self._show_table(rows)
        await self._show_pane()
        self._show_keys()
        if not self.reading and not report.rows and not self._said:
            self.say("There is nothing in it to learn from.", trouble=True)
        elif not report.usable and not self._said:
            self.say("No row can be used: the reasons stand above.", trouble=True)

    @property
    def _said(self) -> bool:
        return any(line.display for line in self.query(".step-said"))

    def _rows(self) -> list[tuple[str, str]]:
        report = self.flow.report
        parted = self.flow.parted() if report.usable else None
        return rows_of(report, parted) if report.rows else []

    def _show_table(self, rows: list[tuple[str, str]]) -> None:
        lines = [Content.assemble((f"{name:<18}", "$muted"), (value, "")) for name, value in rows]
        self.query_one("#data-table", Static).update(Content("\n").join(lines))
        report = self.flow.report
        self.query_one("#data-split").display = bool(report.usable or report.oversize)

    def _show_keys(self) -> None:
        dialog = self.query_one(".dialog")
        if self.reading:
            dialog.border_subtitle = keys_line(("Esc cancels", "leave"))
            return
        usable = bool(self.flow.report.usable)
        other = "l examples" if self._listed else "l left out"
        unrated = "u only rated" if self.flow.unrated else "u unrated too"
        dialog.border_subtitle = keys_line(
            ("Enter goes on" if usable else "", "on"),
            ("←" if usable else "", "step(-1)"),
            ("→ examples" if usable else "", "step(1)"),
            (other if self._left_out else "", "list"),
            ("" if self.flow.origin.files else unrated, "unrated"),
            ("Tab split" if usable else "", ""),
            ("Esc closes", "leave"),
        )

    async def _show_pane(self) -> None:
        head, text = Content(""), Content("")
        if self._listed:
            head, text = self._list_page()
        elif self.flow.report.usable:
            head, text = await self._example()
        self.query_one("#data-head", Static).update(head)
        self.query_one("#data-text", Static).update(text)
        self.query_one("#data-pane").scroll_home(animate=False)

    def _list_page(self) -> tuple[Content, Content]:
        found = self._left_out[self._place : self._place + _PAGE]
        end = self._place + len(found)
        where = f"{self._place + 1:,} to {end:,} of {len(self._left_out):,}"
        lines = [Content.assemble((item.where, "bold"), (f": {item.why}", "")) for item in found]
        return Content(f"Rows left out: {where}"), Content("\n").join(lines)

    async def _example(self) -> tuple[Content, Content]:
        report = self.flow.report
        item = report.usable[self._place]
        base = self.flow.base
        parts = await asyncio.to_thread(lambda: previewed(item.example, base.renderer))
        where = place_words(item.example.source)
        head = Content.assemble(
            f"Example {self._place + 1:,} of {len(report.usable):,} · {where} · "
            f"{item.count.total:,} tokens, {item.count.trained:,} ",
            ("trained on", _LEGEND),
            " (bold and underlined)",
        )
        pieces: list[tuple[str, str]] = []
        for name, spans in parts:
            if name:
                pieces.append((f"{name}\n", "bold reverse"))
            pieces += [(visible(span.text), _LEGEND if span.trained else "") for span in spans]
            pieces.append(("\n", ""))
        return head, Content.assemble(*pieces)

    # Keys -------------------------------------------------------------------------------------

    def action_step(self, step: int) -> None:
        """Show the next example or the previous one; of a long list, its pages."""
        count = len(self._left_out) if self._listed else len(self.flow.report.usable)
        step *= _PAGE if self._listed else 1
        place = self._place + step
        if 0 <= place < count:
            self._place = place
            self.run_worker(self._show_pane(), group="preview", exclusive=True)

    def action_list(self) -> None:
        """Show the rows that are left out, or the examples again."""
        if self._left_out or self._listed:
            self._listed = not self._listed
            self._place = 0
            self.run_worker(self._show_pane(), group="preview", exclusive=True)
            self._show_keys()

    @on(Input.Submitted)
    @on(Input.Blurred)
    def _typed(self, event: Input.Submitted | Input.Blurred) -> None:
        event.stop()
        self._commit(event.input)
        if isinstance(event, Input.Submitted):
            self.query_one("#data-pane").focus()

    def _commit(self, field: Input) -> bool:
        """Take what was typed; false if it is wrong."""
        name = (field.id or "").removeprefix("data-")
        before = getattr(self.flow.settings, name)
        try:
            value = self._fields[name].parse(field.value)
        except VlmchatError as error:
            self.say(str(error), trouble=True)
            field.value = self._fields[name].written(before)
            return False
        if value != before:
            self.flow.change(name, value)
            self.say("")
            if name == "context":
                self.action_read()
            else:
                self.run_worker(self._part(), group="parting", exclusive=True)
        return True

    def action_on(self) -> None:
        """Go on to the method."""
        if self.reading or not self.flow.report.usable:
            return
        focused = self.focused
        if isinstance(focused, Input) and not self._commit(focused):
            return
        from vlmchat.tui.screens.finetune.method import MethodScreen

        self.app.push_screen(MethodScreen(self.chat, self.flow), self._begun)

    def _begun(self, begun: bool | None) -> None:
        """Leave once a job was made of it."""
        if begun:
            self.dismiss(True)

    def action_leave(self) -> None:
        """Stop reading first; then close."""
        if self.reading and not self._cancelling:
            self._cancelling = True
            self.flow.cancel()
        else:
            self.dismiss(False)

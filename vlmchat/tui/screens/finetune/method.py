"""The second step: how it is learned, what that costs here, and what would fit if it does not."""

from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import HorizontalGroup, VerticalGroup, VerticalScroll
from textual.content import Content
from textual.widgets import Button, Input, Static

from vlmchat.errors import VlmchatError
from vlmchat.talk.finetuning.fields import GROUPS, run_fields, used
from vlmchat.talk.finetuning.flow import Finetuning, Outcome
from vlmchat.talk.finetuning.summary import cost_words, work_words
from vlmchat.text import human_bytes, visible_line
from vlmchat.tui.screens.finetune.step import StepScreen, keys_line, step_title
from vlmchat.tui.widgets.field import ChoiceLine, FieldRow, row_of

if TYPE_CHECKING:
    from vlmchat.settings_fields import Value
    from vlmchat.tui.screens.chat import ChatScreen


class MethodScreen(StepScreen):
    """Shows every setting of the run, and what they come to.

    Args:
        chat: that it was opened from.
        flow: what is being prepared; its data was read.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Back"),
        Binding("ctrl+s", "start", "Start"),
        Binding("ctrl+t", "take", "Take what fits"),
        Binding("ctrl+l", "unload", "Unload the engine"),
        Binding("ctrl+r", "reset", "Default"),
    ]
    DEFAULT_CSS = """
    MethodScreen {
        .method-line { height: 1;
            .method-label { width: 12; text-style: bold; }
            Input, .choice-line { width: 1fr; }
            .choice-line { height: 1; background: $panel; &:focus { background: $primary 25%; } }
        }
        #method-about { color: $muted; margin-bottom: 1; height: auto; }
        #method-fields { height: 1fr; scrollbar-gutter: stable; padding-right: 1; }
        .method-group { color: $primary; text-style: bold; margin-bottom: 1; }
        #method-cost { height: auto; border-top: solid $border-blurred; }
        #method-start { width: 100%; text-style: bold; color: $foreground; background: $panel;
            &:focus { color: $accent; text-style: bold reverse; }
            &:disabled { color: $muted; text-style: none; opacity: 100%; text-opacity: 100%; }
        }
    }
    """

    def __init__(self, chat: "ChatScreen", flow: Finetuning) -> None:
        super().__init__(chat, "finetune-method")
        self.flow = flow
        self.outcome: Outcome | None = None
        self._starting = False
        self._fields = run_fields(lambda: flow.settings)
        self._preset = ChoiceLine(list(flow.presets()), flow.preset)

    def compose(self) -> ComposeResult:
        """Lay out name and preset, the settings, and what they cost."""
        with VerticalGroup(classes="dialog step-dialog") as dialog:
            dialog.border_title = step_title(1, visible_line(self.flow.base.title))
            with HorizontalGroup(classes="method-line"):
                yield Static("Name", classes="method-label", markup=False)
                yield Input(visible_line(self.flow.origin.title), compact=True, id="method-name")
            with HorizontalGroup(classes="method-line"):
                yield Static("Preset", classes="method-label", markup=False)
                yield self._preset
            yield Static("", id="method-about", markup=False)
            with VerticalScroll(id="method-fields", can_focus=False):
                for title, names in GROUPS:
                    yield Static(title, classes="method-group", markup=False)
                    for name in names:
                        value = getattr(self.flow.settings, name)
                        yield FieldRow(self._fields[name], value, self._committed)
            yield Static("", id="method-cost", markup=False)
            yield Static("", classes="step-said", markup=False)
            yield Button("Start", id="method-start", compact=True, disabled=True)

    def on_mount(self) -> None:
        """Begin with the preset."""
        self.say("")
        self._preset.focus()
        self._show_settings()
        self._estimate()

    # Settings ---------------------------------------------------------------------------------

    @on(ChoiceLine.Changed)
    def _preset_chosen(self, event: ChoiceLine.Changed) -> None:
        if event.line is not self._preset:
            return
        try:
            self.flow.use_preset(event.chosen)
        except VlmchatError as error:
            self.say(str(error), trouble=True)
            return
        self._show_settings()
        self._estimate()

    def _committed(self, row: FieldRow, value: "Value | None") -> None:
        try:
            self.flow.change(row.field.name, value)
        except VlmchatError as error:
            row.say(str(error))
            return
        self._show_settings()
        self._estimate()

    def _show_settings(self) -> None:
        settings = self.flow.settings
        about = self.flow.presets().get(self.flow.preset, "")
        self.query_one("#method-about", Static).update(Content(about))
        for row in self.query(FieldRow):
            name = row.field.name
            row.show(getattr(settings, name))
            row.display = used(name, settings)
            source = "default" if row.value == row.field.default else "changed"
            if name == "learning_rate" and isinstance(row.editor, Input):
                row.editor.placeholder = f"{settings.rate:g}"
            row.describe(row.field.description, source)

    def action_reset(self) -> None:
        """Give the field that has the focus its default."""
        row = row_of(self.focused)
        if row is not None:
            row.value = row.field.default
            row.restore()
            self._committed(row, row.value)

    # The estimate -----------------------------------------------------------------------------

    def _estimate(self) -> None:
        self.run_worker(self._plan(), group="estimate", exclusive=True)

    async def _plan(self) -> Outcome:
        outcome = self.outcome = await self.flow.plan()
        self._show_outcome(outcome)
        return outcome

    def _show_outcome(self, outcome: Outcome) -> None:
        lines: list[Content] = []
        if outcome.cost is not None:
            lines.append(Content(cost_words(outcome.cost)))
        if outcome.plan is not None and outcome.cost is not None:
            work = outcome.plan.work
            lines.append(Content.styled(work_words(outcome.cost, work.rows), "$muted"))
        if self.flow.unload:
            lines.append(
                Content("The chat's engine is unloaded while this runs. (Ctrl+L keeps it)")
            )
        elif outcome.engine:
            helps = "it fits then" if outcome.unloading_helps else "memory is short"
            lines.append(
                Content(
                    f"⚠ The chat's engine takes {human_bytes(outcome.engine)}: Ctrl+L unloads it "
                    f"while this runs ({helps})."
                )
            )
        self.query_one("#method-cost", Static).update(Content("\n").join(lines))
        said = outcome.error
        if outcome.suggestion is not None:
            said = f"{said} Ctrl+T takes that."
        self.say(said, trouble=bool(said))
        start = self.query_one("#method-start", Button)
        start.disabled = outcome.plan is None
        start.label = "Start (Ctrl+S)" if outcome.plan is not None else "It cannot be started so"
        self.query_one(".dialog").border_subtitle = keys_line(
            ("Ctrl+S starts" if outcome.plan is not None else "", "start"),
            ("Ctrl+T takes what fits" if outcome.suggestion is not None else "", "take"),
            ("Tab next", ""),
            ("Ctrl+R default", "reset"),
            ("Esc back", "leave"),
        )

    def action_take(self) -> None:
        """Take the nearest settings that fit."""
        if self.outcome is not None and self.outcome.suggestion is not None:
            self.flow.take(self.outcome.suggestion)
            self._show_settings()
            self._estimate()

    def action_unload(self) -> None:
        """Have the engine unloaded while the job runs, or keep it."""
        if self.flow.unload or (self.outcome is not None and self.outcome.engine):
            self.flow.unload = not self.flow.unload
            self._estimate()

    # Starting ---------------------------------------------------------------------------------

    @on(Button.Pressed, "#method-start")
    def action_start(self) -> None:
        """Make the job and start it."""
        row = row_of(self.focused)
        if self._starting or (row is not None and not row.commit()):
            return
        self._starting = True
        self.run_worker(self._start(), group="starting")

    async def _start(self) -> None:
        from vlmchat.tui.screens.finetune.run import RunScreen

        try:
            outcome = await self._plan()
            if outcome.plan is None:
                return
            self.say("Preparing the job …")
            name = self.query_one("#method-name", Input).value
            job = await self.flow.create(name, outcome, self._told)
        except VlmchatError as error:
            self.say(str(error), trouble=True)
            return
        finally:
            self._starting = False
        app, chat = self.app, self.chat
        self.dismiss(True)
        app.call_later(app.push_screen, RunScreen(chat, job, begin=True, unload=self.flow.unload))

    def _told(self, done: int, total: int) -> None:
        self.say(f"Preparing the job: {done:,} of {total:,} pictures and videos …")

    def action_leave(self) -> None:
        """Go back to the data; what is being written is taken, or put back if it is wrong."""
        row = row_of(self.focused)
        if row is not None and not row.commit():
            row.restore()
            return
        self.dismiss(False)

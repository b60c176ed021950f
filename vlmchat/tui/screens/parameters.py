"""The parameters of the present conversation, beside it."""

from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalGroup, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from vlmchat.chat.messages import parse_detail
from vlmchat.errors import VlmchatError
from vlmchat.settings_fields import SettingField, Value, setting_fields
from vlmchat.talk.engine_change import AUTO, REMOTE_REASON
from vlmchat.text import visible_line
from vlmchat.tui.keys import hint
from vlmchat.tui.widgets.field import FieldRow, FormField, row_of

if TYPE_CHECKING:
    from textual.suggester import Suggester

    from vlmchat.tui.screens.chat import ChatScreen

_ENGINE = ("engine.model", "engine.quant", "engine.device")
_DETAIL = "media.detail"
_DEFAULT = "the engine's default"


class ParametersPanel(ModalScreen[None]):
    """Model, sampling and detail, for this conversation only; the settings are for good.

    Sampling and detail are taken as they are set. What restarts the engine is collected, and done
    when the person confirms it.

    Args:
        chat: whose parameters they are.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f4", "leave", "Close"),
        Binding("ctrl+r", "reset", "Default", id="parameters.reset", tooltip="Back to the default"),
    ]
    DEFAULT_CSS = """
    ParametersPanel {
        #parameters-fields { scrollbar-size-vertical: 1; scrollbar-gutter: stable; height: 1fr;
            padding-right: 1; }
        .parameters-group { color: $primary; text-style: bold; margin-bottom: 1; }
        #parameters-apply { width: 100%; margin-bottom: 1; text-style: bold;
            color: $foreground; background: $panel;
            &:focus { color: $accent; text-style: bold reverse; }
            &:disabled { color: $muted; text-style: none; opacity: 100%; text-opacity: 100%; }
        }
    }
    """

    def __init__(self, chat: "ChatScreen") -> None:
        super().__init__(id="parameters")
        self._chat = chat
        # Beside the conversation where there is room for both, else over it.
        self.HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]
        self._fields = {field.key: field for field in setting_fields()}

    def compose(self) -> ComposeResult:
        """Lay out the engine's fields, what confirms them, and the rest."""
        with VerticalGroup(classes="dialog") as dialog:
            dialog.border_title = "Parameters"
            dialog.border_subtitle = hint(
                self._chat, {"Enter": "sets", "parameters.reset": "default", "Esc": "closes"}
            )
            with VerticalScroll(id="parameters-fields", can_focus=False):
                yield Static("Engine", classes="parameters-group")
                for key in _ENGINE:
                    yield self._engine_row(self._fields[key])
                yield Button("", compact=True, id="parameters-apply", disabled=True)
                yield Static("Next answers", classes="parameters-group")
                for field in self._fields.values():
                    if field.group == "sampling":
                        value = getattr(self._chat.session.sampling, field.name)
                        row = self._row(field, value, self._set_sampling)
                        yield self._greyed(row, field)
                yield Static("Next pictures", classes="parameters-group")
                detail, level = self._fields[_DETAIL], self._chat.session.detail
                yield self._greyed(self._row(detail, level, self._set_detail), detail)

    def _row(self, field: SettingField, value: Value | None, committed: object) -> FieldRow:
        assert callable(committed)
        empty = _DEFAULT if field.optional else field.shown(field.default)
        row = FieldRow(field, value, committed, empty)
        self._describe(row)
        return row

    def _greyed(self, row: FieldRow, field: SettingField) -> FieldRow:
        """Close a field that the server at the other end does not know."""
        from vlmchat.client.dialects import cannot

        if reason := cannot(self._chat.session.engine.model, field.name):
            row.editor.disabled = True
            row.describe(field.description, "", f"Not available: {reason}")
        return row

    def _engine_row(self, field: SettingField) -> FieldRow:
        from vlmchat.models.catalogue import CATALOGUE

        names = [entry.id for entry in CATALOGUE] if field.name == "model" else []
        row = FieldRow(field, self._present(field), self._collect, AUTO, names)
        extra = ""
        if self._remote and field.name != "model":
            row.editor.disabled = True
            extra = f"Not available: {REMOTE_REASON}."
        row.describe(self._what(field), self._loaded(field), extra)
        return row

    def on_mount(self) -> None:
        """Begin with the first field, and learn what a server has."""
        self._show_apply()
        self.query(FieldRow).first().editor.focus()
        if self._remote:
            self.run_worker(self._suggest_served(), group="parameters")

    @property
    def _remote(self) -> bool:
        return self._chat.session.engine.kind == "remote"

    def _present(self, field: FormField) -> Value | None:
        settings = self._chat.engine_changer.settings
        if settings is None:
            return field.default
        value: Value | None = getattr(settings.engine, field.name)
        return value

    def _loaded(self, field: FormField) -> str:
        """Return what the engine says of itself about this field."""
        model = self._chat.session.engine.model
        if model is None:
            return ""
        precision = model.dtype if model.quantization in ("", "none") else model.quantization
        said = {"model": model.title, "quant": precision, "device": model.device}[field.name]
        return f"now {visible_line(said)}" if said else ""

    def _what(self, field: SettingField) -> str:
        if self._remote and field.name == "model":
            return "One of the server's models."
        return field.description

    def _describe(self, row: FieldRow) -> None:
        field = row.field
        row.describe(field.description, "default" if row.value == field.default else "changed")

    async def _suggest_served(self) -> None:
        try:
            names = await self._chat.engine_changer.served()
        except VlmchatError:
            return  # what is chosen is checked again, and told then
        row = next(row for row in self.query(FieldRow) if row.field.key == _ENGINE[0])
        row.describe(
            f"The server has {', '.join(map(visible_line, names))}.", self._loaded(row.field)
        )
        if isinstance(row.editor, Input):
            row.editor.suggester = _suggester(names)

    # Sampling and detail -----------------------------------------------------------------------

    def _set_sampling(self, row: FieldRow, value: Value | None) -> None:
        from dataclasses import replace

        name = row.field.name
        sampling = self._chat.session.sampling
        values = {item: getattr(sampling, item) for item in sampling.__dataclass_fields__}
        self._chat.set_sampling(replace(sampling, **{**values, name: value}))
        self._describe(row)

    def _set_detail(self, row: FieldRow, value: Value | None) -> None:
        self._chat.set_detail(parse_detail(value))
        self._describe(row)

    # The engine --------------------------------------------------------------------------------

    def _changes(self) -> dict[str, str]:
        changes: dict[str, str] = {}
        for row in self.query(FieldRow):
            field = row.field
            if field.key in _ENGINE and row.value != self._present(field):
                changes[field.name] = str(row.value or AUTO)
        return changes

    def _collect(self, row: FieldRow, value: Value | None) -> None:
        self._show_apply()

    def _show_apply(self) -> None:
        button = self.query_one("#parameters-apply", Button)
        changes = self._changes()
        button.disabled = not changes
        restarts = "asks the server again" if self._remote else "restarts the engine"
        names = " and ".join(changes)
        button.label = Content(
            f"Apply {names}: {restarts}" if changes else f"A change here {restarts}"
        )

    @on(Button.Pressed, "#parameters-apply")
    def _apply(self) -> None:
        try:
            self._chat.change_engine(**self._changes())
        except VlmchatError as error:
            self.query(FieldRow).first().say(str(error))
            return
        self.dismiss(None)

    # Keys --------------------------------------------------------------------------------------

    def action_reset(self) -> None:
        """Give the field that has the focus its default."""
        row = row_of(self.focused)
        if row is None or row.editor.disabled:
            return
        row.value = row.field.default
        row.restore()
        if row.field.key in _ENGINE:
            self._show_apply()
        elif row.field.key == _DETAIL:
            self._set_detail(row, row.value)
        else:
            self._set_sampling(row, row.value)

    def action_leave(self) -> None:
        """Take what is being written and close; what is wrong is put back first."""
        row = row_of(self.focused)
        if row is not None and not row.commit():
            row.restore()
            return
        if self._changes():
            self._chat.notice(
                "The engine was not changed: /parameters, /model and /quant change it.", "note"
            )
        self.dismiss(None)


def _suggester(names: list[str]) -> "Suggester":
    from textual.suggester import SuggestFromList

    return SuggestFromList(names, case_sensitive=False)

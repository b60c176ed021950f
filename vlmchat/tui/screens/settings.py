"""All settings, drawn from their schema, each saved to ``config.toml`` as it is changed."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalGroup, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from vlmchat import config_file
from vlmchat.errors import VlmchatError
from vlmchat.settings_fields import (
    SettingState,
    Value,
    group_titles,
    read_states,
    setting_fields,
)
from vlmchat.text import visible_line
from vlmchat.tui.keys import hint
from vlmchat.tui.widgets.field import FieldRow, FormField, row_of

if TYPE_CHECKING:
    from vlmchat.tui.screens.chat import ChatScreen


class SettingsScreen(ModalScreen[None]):
    """The settings.

    Args:
        chat: whose settings they are.
        overrides: what the command line gave.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Close"),
        Binding("ctrl+r", "reset", "Default", id="settings.reset", tooltip="Back to the default"),
        Binding("slash,ctrl+f", "filter", "Filter", show=False),
    ]
    DEFAULT_CSS = """
    SettingsScreen {
        #settings-filter { background: $panel; margin-bottom: 1;
            & > .input--placeholder { color: $muted; } }
        #settings-fields { scrollbar-size-vertical: 1; scrollbar-gutter: stable; height: 1fr;
            padding-right: 1; }
        .settings-group { color: $primary; text-style: bold; margin-bottom: 1; }
        .settings-hint { color: $muted; margin: 0 0 1 1; }
        #settings-error { color: $error; text-style: bold; height: auto; }
    }
    """

    def __init__(self, chat: "ChatScreen", overrides: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__(id="settings")
        self._chat = chat
        self._overrides = overrides
        self._one_at_a_time = asyncio.Lock()
        self._states: dict[str, SettingState] = {}

    def compose(self) -> ComposeResult:
        """Lay out filter, fields and what is wrong with the file."""
        with VerticalGroup(classes="dialog") as dialog:
            dialog.border_title = "Settings"
            dialog.border_subtitle = hint(
                self._chat,
                {
                    "Enter": "saves",
                    "settings.reset": "default",
                    "Tab": "next",
                    "Esc": "closes",
                },
            )
            yield Input(placeholder="Filter", compact=True, id="settings-filter")
            yield Static("", id="settings-error", markup=False)
            with VerticalScroll(id="settings-fields", can_focus=False):
                yield from self._groups()

    def _groups(self) -> ComposeResult:
        titles = group_titles()
        group = ""
        themes = sorted(self.app.available_themes)
        from vlmchat.models.catalogue import CATALOGUE

        models = [entry.id for entry in CATALOGUE]
        known = {"engine.model": models, "ui.theme": themes}
        for field in setting_fields():
            if field.group != group:
                group = field.group
                yield Static(f"[{group}]  {titles[group]}", classes="settings-group", markup=False)
            empty = field.shown(field.default) if field.optional else ""
            yield FieldRow(field, field.default, self._committed, empty, known.get(field.key, ()))
        yield Static("[keys]  Keys of commands", classes="settings-group", markup=False)
        yield Static("/keys shows and changes them.", classes="settings-hint", markup=False)

    async def on_mount(self) -> None:
        """Begin with the filter, and read where everything stands."""
        self.query_one("#settings-error").display = False
        self.query_one("#settings-filter", Input).focus()
        self.run_worker(self._refresh(), group="settings")

    # Showing -----------------------------------------------------------------------------------

    async def _refresh(self) -> None:
        async with self._one_at_a_time:
            await self._read(None)

    async def _read(self, changed: FormField | None) -> None:
        try:
            settings, self._states = await asyncio.to_thread(read_states, self._overrides)
        except VlmchatError as error:
            self._say(str(error))
            return
        self._say("")
        for row in self.query(FieldRow):
            self._show(row, self._states[row.field.key])
        if changed is not None:
            self._chat.apply_settings(settings)

    def _show(self, row: FieldRow, state: SettingState) -> None:
        field = row.field
        extra = field.when
        source = state.source
        if state.overridden:
            said = source[:1].lower() + source[1:]
            extra = (
                f"The {said} gives {field.shown(state.value)}: "
                "what is written here takes effect only without it."
            )
            source = f"{source}: {field.shown(state.value)}"
        row.show(state.own)
        row.describe(field.description, visible_line(source), extra)

    def _say(self, error: str) -> None:
        place = self.query_one("#settings-error", Static)
        place.update(Content(error))
        place.display = bool(error)

    @on(Input.Changed, "#settings-filter")
    def _filter(self, event: Input.Changed) -> None:
        words = event.value.casefold().split()
        heading: Static | None = None
        for child in self.query_one("#settings-fields").children:
            if isinstance(child, FieldRow):
                field = child.field
                text = f"{field.key} {field.title} {field.description}".casefold()
                child.display = all(word in text for word in words)
                if heading is not None and child.display:
                    heading.display = True
            elif isinstance(child, Static):
                shown = not words or "keys" in " ".join(words)
                if child.has_class("settings-group"):
                    heading = child
                    keys = str(child.render()).startswith("[keys]")
                    child.display = not words or (shown and keys)
                else:
                    child.display = shown

    @on(Input.Submitted, "#settings-filter")
    def _first(self) -> None:
        for row in self.query(FieldRow):
            if row.display:
                row.editor.focus()
                return

    # Changing ----------------------------------------------------------------------------------

    def _committed(self, row: FieldRow, value: Value | None) -> None:
        if row.field.key == "ui.theme" and value and value not in self.app.available_themes:
            row.value = self._states[row.field.key].own
            row.say(
                f"There is no theme “{visible_line(str(value))}”: /theme lists those there are."
            )
            return
        # A worker of the chat's: what was set is saved even if this screen is closed meanwhile.
        self._chat.run_worker(self._save(row, value), group="settings")

    def action_reset(self) -> None:
        """Remove the field that has the focus from the file, so that its default holds."""
        row = row_of(self.focused)
        if row is not None:
            row.value = row.field.default
            row.restore()
            self._committed(row, None)

    async def _save(self, row: FieldRow, value: Value | None) -> None:
        async with self._one_at_a_time:
            try:
                if value is None or (value == row.field.default and not self._in_file(row)):
                    await asyncio.to_thread(config_file.unset, row.field.key)
                else:
                    await asyncio.to_thread(config_file.set_value, row.field.key, value)
            except VlmchatError as error:
                row.say(str(error))
                return
            await self._read(row.field)

    def _in_file(self, row: FieldRow) -> bool:
        state = self._states.get(row.field.key)
        return state is not None and state.in_file

    def action_filter(self) -> None:
        """Go to the filter."""
        self.query_one("#settings-filter", Input).focus()

    def action_leave(self) -> None:
        """Save what is being written and close; what is wrong is put back first."""
        row = row_of(self.focused)
        if row is not None and not row.commit():
            row.restore()
            return
        self.run_worker(self._close(), group="settings")

    async def _close(self) -> None:
        # What leaving began to save comes first.
        async with self._one_at_a_time:
            pass
        self.dismiss(None)


def open_settings(chat: "ChatScreen") -> None:
    """Show the settings over the chat."""
    from vlmchat.tui.app import ChatApp

    app = chat.app
    assert isinstance(app, ChatApp)
    app.push_screen(SettingsScreen(chat, app.overrides))

"""The part of the chat screen about parameters, settings and keys."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from textual.binding import ActiveBinding

from vlmchat.chat.messages import Detail
from vlmchat.client.protocol import Sampling
from vlmchat.talk.commands import registry
from vlmchat.talk.engine_change import EngineChanger
from vlmchat.tui.apply_settings import SettingsInUse
from vlmchat.tui.key_names import keys_title
from vlmchat.tui.keys import NO_KEY, apply_keys
from vlmchat.tui.screens.beside import Beside
from vlmchat.tui.widgets.welcome import Welcome

if TYPE_CHECKING:
    from vlmchat.settings import Settings
    from vlmchat.tui.screens.chat import ChatScreen


class Adjusting(Beside):
    """The part of the chat screen that changes how the model answers and what the keys do.

    Attributes:
        keys: the keys of each command, by its name.
        engine_changer: changes which engine the session has.
        settings_in_use: what the chat took from the settings.
    """

    keys: dict[str, tuple[str, ...]]
    engine_changer: EngineChanger
    settings_in_use: SettingsInUse

    @property
    def _chat(self) -> "ChatScreen":
        from vlmchat.tui.screens.chat import ChatScreen

        assert isinstance(self, ChatScreen)
        return self

    def begin_adjusting(self) -> None:
        """Begin with what holds before the settings are read."""
        chat = self._chat
        self.keys = registry.default_keys()
        self.engine_changer = EngineChanger(chat.session, chat.notice, self.run_worker)
        self.settings_in_use = SettingsInUse(chat)

    def open_settings(self) -> None:
        """Show all settings."""
        from vlmchat.tui.screens.settings import open_settings

        open_settings(self._chat)

    def open_parameters(self) -> None:
        """Show the parameters of this conversation."""
        from vlmchat.tui.screens.parameters import ParametersPanel

        self.app.push_screen(ParametersPanel(self._chat))

    def open_keys(self) -> None:
        """Show the keys of all commands."""
        from vlmchat.tui.screens.keys import open_keys

        open_keys(self._chat)

    def set_sampling(self, sampling: Sampling) -> None:
        """Make these the parameters of the next answer."""
        self._chat.session.sampling = sampling

    def set_detail(self, detail: Detail) -> None:
        """Make this how finely the model looks at the next pictures."""
        self._chat.session.detail = detail
        self._chat.show_chips()

    def change_engine(
        self,
        *,
        model: str | None = None,
        quant: str | None = None,
        device: str | None = None,
        adapter: str | None = None,
    ) -> None:
        """Go on with another model, quantization and so on (see `EngineChanger.change`)."""
        self.engine_changer.change(model=model, quant=quant, device=device, adapter=adapter)

    def list_models(self) -> None:
        """Say which model answers and which others there are."""
        self.run_worker(self.engine_changer.list_models())

    @property
    def settings(self) -> "Settings | None":
        """The settings that hold now."""
        return self.settings_in_use.present

    async def change_setting(self, argument: str) -> None:
        """Tell or change one setting."""
        from vlmchat.talk.setting_line import tell_or_change
        from vlmchat.tui.app import ChatApp

        app = self.app
        assert isinstance(app, ChatApp)
        said, settings = await asyncio.to_thread(tell_or_change, argument, app.overrides)
        if settings is not None:
            self.apply_settings(settings)
        self._chat.notice(said)

    def apply_settings(self, settings: "Settings") -> None:
        """Take settings that were changed."""
        self.settings_in_use.apply(settings)

    def apply_keys(self, wanted: Mapping[str, str]) -> None:
        """Take these keys for the commands, and say which of them cannot be had."""
        self.run_worker(apply_keys(self._chat, wanted), group="keys", exclusive=True)

    def key_or_command(self, name: str) -> str:
        """Return a command's key for a person to read; how it is typed when it has none."""
        return keys_title(self.keys.get(name, ())) or f"/{name}"

    def keys_changed(self) -> None:
        """Name the keys where they are named."""
        for welcome in self.query(Welcome):
            welcome.name_keys(self.keys)

    @property
    def active_bindings(self) -> dict[str, ActiveBinding]:
        """The keys that do something now; those that stand for none are left out.

        Where what has the focus has keys to show, as a turn, the footer is its alone: there is no
        room for more.
        """
        found = {
            key: active
            for key, active in super().active_bindings.items()
            if not key.startswith(NO_KEY)
        }
        if not any(x.binding.show and x.node not in (self, self.app) for x in found.values()):
            return found
        return {
            key: active._replace(binding=replace(active.binding, show=False))
            if active.node is self
            else active
            for key, active in found.items()
        }

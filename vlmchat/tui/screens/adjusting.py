"""The part of the chat screen about parameters, settings and keys."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from textual.binding import ActiveBinding

from vlmchat.chat.messages import Detail
from vlmchat.client.protocol import Sampling
from vlmchat.tui.apply_settings import SettingsInUse
from vlmchat.tui.commands import registry
from vlmchat.tui.engine_change import EngineChanger
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

    def apply_settings(self, settings: "Settings") -> None:
        """Take settings that were changed."""
        self.settings_in_use.apply(settings)

    def apply_keys(self, wanted: Mapping[str, str]) -> None:
        """Take these keys for the commands, and say which of them cannot be had."""
        self.run_worker(apply_keys(self._chat, wanted), group="keys", exclusive=True)

    def keys_changed(self) -> None:
        """Name the keys where they are named."""
        for welcome in self.query(Welcome):
            welcome.name_keys(self.keys)

    @property
    def active_bindings(self) -> dict[str, ActiveBinding]:
        """The keys that do something now; those that stand for none are left out."""
        return {
            key: binding
            for key, binding in super().active_bindings.items()
            if not key.startswith(NO_KEY)
        }

"""Has the running chat take settings that were changed meanwhile."""

import asyncio
from typing import TYPE_CHECKING

from vlmchat.errors import VlmchatError
from vlmchat.talk.permissions import KeptPermissions
from vlmchat.text import visible_line
from vlmchat.tui.motion import apply_motion

if TYPE_CHECKING:
    from vlmchat.settings import Settings
    from vlmchat.tui.screens.chat import ChatScreen


class SettingsInUse:
    """What the chat took from the settings, and what of it waits for a new conversation.

    Args:
        chat: the screen.
    """

    def __init__(self, chat: "ChatScreen") -> None:
        self._chat = chat
        self._last: Settings | None = None
        self._for_new: Settings | None = None
        self._permissions: KeptPermissions | None = None

    def begin(self, settings: "Settings") -> None:
        """Take the settings of the start."""
        self._last = settings
        self._chat.session.detail = settings.media.detail
        self._chat.apply_keys(settings.keys)
        self._permissions = KeptPermissions(
            settings.media.allowed_hosts,
            self._chat.run_worker,
            lambda sentence: self._chat.notice(sentence, "error"),
        )
        self._chat.permissions = self._permissions

    @property
    def present(self) -> "Settings | None":
        """The settings that hold now; none while they are being read."""
        return self._last

    def apply(self, settings: "Settings") -> None:
        """Take what applies at once, and keep the rest for its time."""
        chat, last = self._chat, self._last
        settings.put_in_force()
        from vlmchat.tui.widgets.composer import Composer

        if last is None or settings.ui.theme != last.ui.theme:
            self._use_theme(settings.ui.theme)
        chat.query_one(Composer).enter_sends = settings.ui.enter == "send"
        if last is None or settings.keys != last.keys:
            chat.apply_keys(settings.keys)
        if last is None or settings.ui.motion != last.ui.motion:
            apply_motion(chat.app, settings)
        hosts = settings.media.allowed_hosts
        if self._permissions and (last is None or hosts != last.media.allowed_hosts):
            self._permissions.take(hosts)
        chat.engine_changer.saved(settings)
        if last is not None:
            self._for_new = self._for_new or last
        self._last = settings

    def _use_theme(self, name: str) -> None:
        if name in self._chat.app.available_themes:
            self._chat.app.theme = name
        else:
            self._chat.notice(f"There is no theme “{name}”: /theme lists those there are.", "error")

    async def keep_theme(self, name: str) -> None:
        """Have the program start with this theme from now on.

        Raises:
            VlmchatError: it cannot be written.
        """
        from vlmchat import config_file
        from vlmchat.settings_faults import variable_of

        await asyncio.to_thread(config_file.set_value, "ui.theme", name)
        variable = variable_of(("ui", "theme"))
        if self.asks_for("ui", "theme"):
            sentence = "The command line gave a theme: if it does the next time, that one is worn."
        elif variable:
            sentence = f"The environment variable {variable} stands above it at the next start."
        else:
            # Other settings that are changed later shall not put on what was the default before.
            if (last := self._last) is not None:
                ui = last.ui.model_copy(update={"theme": name})
                self._last = last.model_copy(update={"ui": ui})
            return
        self._chat.notice(f"“{visible_line(name)}” is the default theme now. {sentence}", "note")

    def asks_for(self, group: str, name: str) -> bool:
        """Say whether the command line gave this setting."""
        from vlmchat.tui.app import ChatApp

        app = self._chat.app
        return isinstance(app, ChatApp) and name in app.overrides.get(group, {})

    async def begin_conversation(self) -> str:
        """Give a new conversation what was changed in the settings since the start.

        Returns:
            Its system prompt.
        """
        before, now, session = self._for_new, self._last, self._chat.session
        if now is None:
            return ""
        if before is None:
            return await self._system(now)
        self._for_new = None
        if before.as_sampling() != now.as_sampling():
            session.sampling = now.as_sampling()
        if before.media.detail != now.media.detail:
            session.detail = now.media.detail
        return await self._system(now)

    async def _system(self, settings: "Settings") -> str:
        from vlmchat.prompts import resolved

        try:
            return await asyncio.to_thread(resolved, settings.chat.system)
        except VlmchatError as error:
            self._chat.notice(f"{error} The conversation has no system prompt.", "error")
            return ""

"""Has the running chat take settings that were changed meanwhile."""

from typing import TYPE_CHECKING

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

    def begin(self, settings: "Settings") -> None:
        """Take the settings of the start."""
        self._last = settings
        self._chat.session.detail = settings.media.detail
        self._chat.apply_keys(settings.keys)

    @property
    def present(self) -> "Settings | None":
        """The settings that hold now; none while they are being read."""
        return self._last

    def apply(self, settings: "Settings") -> None:
        """Take what applies at once, and keep the rest for its time."""
        chat, last = self._chat, self._last
        from vlmchat.tui.widgets.composer import Composer

        if last is None or settings.ui.theme != last.ui.theme:
            self._use_theme(settings.ui.theme)
        chat.query_one(Composer).enter_sends = settings.ui.enter == "send"
        if last is None or settings.keys != last.keys:
            chat.apply_keys(settings.keys)
        chat.engine_changer.saved(settings)
        if last is not None:
            self._for_new = self._for_new or last
        self._last = settings

    def _use_theme(self, name: str) -> None:
        if name in self._chat.app.available_themes:
            self._chat.app.theme = name
        else:
            self._chat.notice(f"There is no theme “{name}”: /theme lists those there are.", "error")

    def begin_conversation(self) -> str:
        """Give a new conversation what was changed in the settings since the start.

        Returns:
            Its system prompt.
        """
        before, now, session = self._for_new, self._last, self._chat.session
        if now is None:
            return ""
        if before is None:
            return now.chat.system
        self._for_new = None
        if before.sampling != now.sampling:
            session.sampling = now.sampling.as_sampling()
        if before.media.detail != now.media.detail:
            session.detail = now.media.detail
        return now.chat.system

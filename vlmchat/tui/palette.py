"""The commands in the palette (Ctrl+P)."""

from collections.abc import Awaitable, Callable
from functools import partial

from textual.command import DiscoveryHit, Hit, Hits, Provider

from vlmchat.talk.commands.base import Command
from vlmchat.talk.commands.registry import COMMANDS
from vlmchat.tui.screens.chat import ChatScreen


class CommandProvider(Provider):
    """Offers what can be done now."""

    async def discover(self) -> Hits:
        """Yield every command there is, before anything is typed."""
        for command, run, explanation in self._offers():
            yield DiscoveryHit(_title(command), run, help=explanation)

    async def search(self, query: str) -> Hits:
        """Yield the commands whose name or help match `query`."""
        matcher = self.matcher(query)
        for command, run, explanation in self._offers():
            title = _title(command)
            score = max(matcher.match(title), 0.8 * matcher.match(command.help))
            if score > 0:
                yield Hit(score, matcher.highlight(title), run, text=title, help=explanation)

    def _offers(self) -> list[tuple[Command, Callable[[], Awaitable[None]], str]]:
        chat = self.screen
        if not isinstance(chat, ChatScreen):
            return []
        return [
            (
                command,
                partial(chat.choose_command, command),
                command.available(chat) or command.help,
            )
            for command in COMMANDS
        ]


def _title(command: Command) -> str:
    return f"{command.name.capitalize()}  {command.arguments}".rstrip()

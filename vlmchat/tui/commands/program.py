"""Commands about the program and its engine."""

from typing import TYPE_CHECKING

from vlmchat.errors import UsageError
from vlmchat.text import visible_line
from vlmchat.tui.commands.base import Command

if TYPE_CHECKING:
    from vlmchat.tui.screens.chat import ChatScreen


class Restart(Command):
    """The engine, again."""

    name = "restart"
    help = "Restart the engine (or ask the server again)"

    async def run(self, chat: "ChatScreen", argument: str) -> None:
        """Stop what is being answered and bring the engine up again."""
        chat.session.stop()
        chat.session.engine.restart()


class Log(Command):
    """What the engine printed."""

    name = "log"
    help = "Show the last lines of the engine's log"
    key = "f2"
    label = "Log"
    fades = True

    def available(self, chat: "ChatScreen") -> str | None:
        """Need an engine of ours."""
        if chat.session.engine.kind == "remote":
            return "The engine runs elsewhere: its log is there too."
        return None

    async def run(self, chat: "ChatScreen", argument: str) -> None:
        """Show them over the chat."""
        chat.open_log()


class Theme(Command):
    """Colours."""

    name = "theme"
    help = "Change the colours; without a name, opens the list"
    arguments = "[NAME]"

    async def run(self, chat: "ChatScreen", argument: str) -> None:
        """Change them, or open the list."""
        if not argument:
            chat.open_themes()
        elif argument in chat.app.available_themes:
            chat.app.theme = argument
        else:
            names = ", ".join(sorted(chat.app.available_themes))
            raise UsageError(f"There is no theme “{visible_line(argument)}”: there are {names}.")


class Help(Command):
    """This very list."""

    name = "help"
    aliases = ("?",)
    help = "Show keys and commands"
    key = "f1"
    label = "Help"

    async def run(self, chat: "ChatScreen", argument: str) -> None:
        """Show it over the chat."""
        chat.open_help()


class Quit(Command):
    """The end."""

    name = "quit"
    aliases = ("exit", "q")
    help = "Quit vlmchat"
    key = "ctrl+q"
    label = "Quit"

    async def run(self, chat: "ChatScreen", argument: str) -> None:
        """Leave."""
        chat.app.exit(return_code=0)

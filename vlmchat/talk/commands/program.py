"""Commands about the program and its engine."""

from typing import TYPE_CHECKING

from vlmchat.talk.commands import completing
from vlmchat.talk.commands.base import Command, Found

if TYPE_CHECKING:
    from vlmchat.talk.front import Front


class Restart(Command):
    """The engine, again."""

    name = "restart"
    help = "Restart the engine (or ask the server again)"

    async def run(self, chat: "Front", argument: str) -> None:
        """Stop what is being answered and bring the engine up again."""
        chat.session.stop()
        chat.engine_changer.restart()


class Log(Command):
    """What the engine printed."""

    name = "log"
    engines = True
    help = "Show the last lines of the engine's log"
    key = "f2"
    label = "Log"
    fades = True

    def available(self, chat: "Front") -> str | None:
        """Need an engine of ours."""
        if chat.session.engine.kind == "remote":
            return "The engine runs elsewhere: its log is there too."
        return None

    async def run(self, chat: "Front", argument: str) -> None:
        """Show them over the chat."""
        chat.open_log()


class Theme(Command):
    """Colours."""

    name = "theme"
    help = "Change the colours; without a name, opens the list"
    arguments = "[NAME]"

    async def run(self, chat: "Front", argument: str) -> None:
        """Change them, or open the list."""
        if not argument:
            chat.open_themes()
        else:
            chat.set_theme(argument)

    def completions(self, chat: "Front", argument: str) -> Found:
        """Offer the themes."""
        return completing.words(argument, chat.theme_names())


class Help(Command):
    """This very list."""

    name = "help"
    aliases = ("?",)
    help = "Show keys and commands"
    key = "f1"
    label = "Help"

    async def run(self, chat: "Front", argument: str) -> None:
        """Show it over the chat."""
        chat.open_help()


class Quit(Command):
    """The end."""

    name = "quit"
    aliases = ("exit", "q")
    help = "Quit vlmchat"
    key = "ctrl+q"
    label = "Quit"

    async def run(self, chat: "Front", argument: str) -> None:
        """Leave."""
        chat.quit()

"""Commands about writing a question."""

from typing import TYPE_CHECKING

from vlmchat.talk.commands.base import Command

if TYPE_CHECKING:
    from vlmchat.talk.front import Front


class Editor(Command):
    """The person's own editor."""

    name = "editor"
    aliases = ("e",)
    help = "Write the question in your editor ($VISUAL or $EDITOR)"
    arguments = "[TEXT]"
    key = "ctrl+g"

    async def run(self, chat: "Front", argument: str) -> None:
        """Give it the terminal until it ends."""
        chat.open_editor(argument)


class PasteImage(Command):
    """The clipboard."""

    name = "paste-image"
    aliases = ("paste",)
    help = "Attach the picture or the files that are on the clipboard"
    key = "alt+v"

    async def run(self, chat: "Front", argument: str) -> None:
        """Attach them."""
        chat.paste_clipboard(media_only=True)


class History(Command):
    """What was asked before."""

    name = "history"
    help = "Search what you asked before"
    arguments = "[WORDS]"
    key = "ctrl+r"

    async def run(self, chat: "Front", argument: str) -> None:
        """Open the search."""
        chat.open_history(argument)

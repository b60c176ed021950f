"""Commands about pictures that were attached."""

from typing import TYPE_CHECKING

from vlmchat.talk.commands.base import Command

if TYPE_CHECKING:
    from vlmchat.talk.front import Front


class View(Command):
    """Pictures, large."""

    name = "view"
    help = (
        "Show the pictures and frames of this conversation large, the last or the one named first"
    )
    arguments = "[NUMBER | NAME]"

    async def run(self, chat: "Front", argument: str) -> None:
        """Show them over the chat."""
        chat.open_viewer(argument)


class Gallery(Command):
    """All pictures."""

    name = "gallery"
    aliases = ("pictures",)
    help = "Show every picture and video that was ever attached, and where"

    async def run(self, chat: "Front", argument: str) -> None:
        """Show them over the chat."""
        chat.open_gallery()

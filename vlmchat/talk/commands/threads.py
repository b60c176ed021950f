"""Commands about whole conversations."""

from typing import TYPE_CHECKING

from vlmchat.errors import UsageError
from vlmchat.talk.commands import completing
from vlmchat.talk.commands.base import Command, Found
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from vlmchat.talk.front import Front


class _Kept(Command):
    """A command that needs saved conversations."""

    def available(self, chat: "Front") -> str | None:
        """Need conversations to be kept."""
        return None if chat.keeps else "Conversations are not kept (chat.save is off)."


class _Current(_Kept):
    """A command about the present conversation, which must be saved."""

    def available(self, chat: "Front") -> str | None:
        """Need something said."""
        if reason := super().available(chat):
            return reason
        return None if chat.session.tree.roots else "Nothing was said in this conversation yet."

    async def number(self, chat: "Front") -> int:
        """Return the number of the present conversation, once it is written."""
        await chat.conversations.library.run(lambda _: None)
        current = chat.conversations.current
        if current is None:
            raise UsageError("This conversation is not saved.")
        return current


class Rename(_Current):
    """Another title."""

    name = "rename"
    help = "Give the conversation a title"
    arguments = "TITLE"
    prefilled = True

    async def run(self, chat: "Front", argument: str) -> None:
        """Set it."""
        if not argument:
            raise UsageError("Write the title behind /rename.")
        await chat.conversations.change(await self.number(chat), title=argument)
        chat.notice(f"The conversation is called “{visible_line(argument)}”.", "note")
        chat.threads_changed()


class _Switch(_Current):
    """A mark on the conversation that is on or off."""

    column = ""
    on = off = ""

    async def run(self, chat: "Front", argument: str) -> None:
        """Turn it round."""
        number = await self.number(chat)
        thread = await chat.conversations.library.run(lambda store: store.thread(number))
        value = not getattr(thread, self.column)
        await chat.conversations.change(number, **{self.column: value})
        chat.notice(self.on if value else self.off, "note")
        chat.threads_changed()


class Pin(_Switch):
    """Keep it at the top."""

    name = "pin"
    help = "Keep the conversation at the top of the list, or no longer"
    column = "pinned"
    on = "The conversation stays at the top of the list."
    off = "The conversation stands where its date puts it."


class Archive(_Switch):
    """Out of sight."""

    name = "archive"
    help = "Put the conversation away, or take it back into the list"
    column = "archived"
    on = "The conversation is archived; the list shows archived ones when asked to."
    off = "The conversation is in the list again."


class Delete(_Current):
    """Away with it."""

    name = "delete"
    help = "Delete the conversation; /undelete brings it back"

    async def run(self, chat: "Front", argument: str) -> None:
        """Delete it."""
        await chat.conversations.delete(await self.number(chat))
        chat.notice("The conversation is deleted; /undelete brings it back.", "note")
        chat.threads_changed()


class Undelete(_Kept):
    """Back with it."""

    name = "undelete"
    help = "Bring back the conversation that was deleted last"

    async def run(self, chat: "Front", argument: str) -> None:
        """Bring it back, and open it."""
        await chat.conversations.open(await chat.conversations.undelete())
        chat.threads_changed()


class Search(_Kept):
    """Everything ever said."""

    name = "search"
    help = "Search everything that was ever said"
    arguments = "[WORDS]"
    key = "ctrl+f"
    label = "Search"

    async def run(self, chat: "Front", argument: str) -> None:
        """Open the search."""
        chat.open_search(argument)


class Find(Command):
    """This conversation only."""

    name = "find"
    help = "Search in this conversation"
    arguments = "[WORDS]"
    key = "f3"

    def available(self, chat: "Front") -> str | None:
        """Need something said."""
        return None if chat.session.path else "Nothing was said yet."

    async def run(self, chat: "Front", argument: str) -> None:
        """Open the search."""
        chat.open_find(argument)


class Chats(_Kept):
    """The list."""

    name = "chats"
    aliases = ("conversations", "sidebar")
    help = "Show or hide the list of conversations; with a number or words, open that one"
    arguments = "[NUMBER | WORDS]"
    key = "ctrl+b"
    label = "Chats"

    async def run(self, chat: "Front", argument: str) -> None:
        """Show the list, or open what is named."""
        if not argument:
            chat.toggle_sidebar()
            return
        threads = await chat.conversations.threads()
        words = argument.casefold()
        named = [x for x in threads if str(x.id) == words or x.title.casefold() == words]
        named = named or [x for x in threads if words in x.title.casefold()]
        if not named:
            raise UsageError(f"No conversation is called “{visible_line(argument)}”.")
        await chat.conversations.open(named[0].id)

    def completions(self, chat: "Front", argument: str) -> Found:
        """Offer the conversations."""
        return completing.conversations(argument, chat.conversations.threads) if chat.keeps else ()

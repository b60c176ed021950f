"""Commands that take conversations out and in."""

from dataclasses import replace
from typing import TYPE_CHECKING

from vlmchat.errors import UsageError
from vlmchat.talk.commands.base import Command
from vlmchat.talk.desktop.pasted import expand, split_words
from vlmchat.talk.keeping.files import export_conversation, import_file

if TYPE_CHECKING:
    from vlmchat.chat.conversation import Conversation
    from vlmchat.talk.front import Front

_SKIP = ("skip-bad", "--skip-bad")


class Export(Command):
    """Write the conversation to a file."""

    name = "export"
    help = (
        "Write the conversation to a file: markdown, html, json, jsonl, "
        "or rated replies to learn from: sft, kto, preference"
    )
    arguments = "[FORMAT] [PATH]"
    prefilled = True

    def available(self, chat: "Front") -> str | None:
        """Need something said."""
        return None if chat.session.tree.roots else "Nothing was said in this conversation yet."

    async def run(self, chat: "Front", argument: str) -> None:
        """Write it; without a format the path's suffix decides, without a path its title."""
        from vlmchat.chat.formats.writing import format_named

        words = split_words(argument)
        form = None
        if words and "." not in words[0] and "/" not in words[0]:
            form = format_named(words.pop(0))
        if len(words) > 1:
            raise UsageError("Name one file: put quotes around a path with spaces.")
        path = expand(words[0]) if words else None
        chat.notice(await export_conversation(await self._whole(chat), form, path))

    async def _whole(self, chat: "Front") -> "Conversation":
        """Return the conversation as it stands, with what only the store knows about it."""
        whole = chat.session.value()
        number = chat.conversations.current if chat.keeps else None
        if number is None:
            return whole
        kept = await chat.conversations.library.run(lambda store: store.thread(number))
        return replace(whole, created=kept.created, pinned=kept.pinned, archived=kept.archived)


class Import(Command):
    """Bring conversations in from a file."""

    name = "import"
    help = "Bring in conversations: vlmchat, OpenAI, ShareGPT, LLaVA, ChatGPT's export"
    arguments = "PATH [skip-bad]"
    prefilled = True

    def available(self, chat: "Front") -> str | None:
        """Need a place to bring them to."""
        return None if chat.keeps else "Conversations are not kept (chat.save is off)."

    async def run(self, chat: "Front", argument: str) -> None:
        """Import every conversation in the file, or say what is wrong with it."""
        words = split_words(argument)
        skip_bad = len(words) > 1 and words[-1] in _SKIP
        if skip_bad:
            words.pop()
        if len(words) != 1:
            raise UsageError(f"Name one file, in quotes if there are spaces in it: {self.usage}")
        for sentence in await import_file(expand(words[0]), skip_bad):
            chat.notice(sentence)
        chat.threads_changed()

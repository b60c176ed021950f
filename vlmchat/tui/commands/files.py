"""Commands that take conversations out and in."""

from typing import TYPE_CHECKING

from vlmchat.errors import UsageError
from vlmchat.tui.commands.base import Command
from vlmchat.tui.pasted import expand, split_words

if TYPE_CHECKING:
    from vlmchat.tui.screens.chat import ChatScreen

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

    async def run(self, chat: "ChatScreen", argument: str) -> None:
        """Write it; without a format the path's suffix decides, without a path its title."""
        from vlmchat.chat.formats.writing import format_named

        words = split_words(argument)
        form = None
        if words and "." not in words[0] and "/" not in words[0]:
            form = format_named(words.pop(0))
        if len(words) > 1:
            raise UsageError("Name one file: put quotes around a path with spaces.")
        await chat.export_conversation(form, expand(words[0]) if words else None)


class Import(Command):
    """Bring conversations in from a file."""

    name = "import"
    help = "Bring in conversations: vlmchat, OpenAI, ShareGPT, LLaVA, ChatGPT's export"
    arguments = "PATH [skip-bad]"
    prefilled = True

    async def run(self, chat: "ChatScreen", argument: str) -> None:
        """Import every conversation in the file, or say what is wrong with it."""
        words = split_words(argument)
        skip_bad = len(words) > 1 and words[-1] in _SKIP
        if skip_bad:
            words.pop()
        if len(words) != 1:
            raise UsageError(f"Name one file, in quotes if there are spaces in it: {self.usage}")
        await chat.import_conversations(expand(words[0]), skip_bad)

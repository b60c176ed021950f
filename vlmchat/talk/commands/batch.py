"""The command that asks the same about many pictures."""

import asyncio
from typing import TYPE_CHECKING

from vlmchat.errors import UsageError
from vlmchat.talk.commands import completing
from vlmchat.talk.commands.base import Found, Seeing
from vlmchat.talk.desktop.pasted import last_word

if TYPE_CHECKING:
    from pathlib import Path

    from vlmchat.talk.front import Front


class Batch(Seeing):
    """What is in each of them?"""

    name = "batch"
    help = (
        "Ask the same about every picture and video in a folder; the answers are kept in a file. "
        "Without words, shows how it stands; “stop” ends it, and the same again goes on"
    )
    arguments = "[FOLDER QUESTION]"
    prefilled = True

    async def run(self, chat: "Front", argument: str) -> None:
        """Begin, stop, or show how it stands."""
        from vlmchat.talk.batching import EXAMPLE, parse

        if argument == "stop":
            if not chat.beside.batching.stop():
                raise UsageError("Nothing is being asked.")
            chat.notice("The batch stops after the answer that is under way.")
            return
        if argument:
            chat.beside.batching.start(await asyncio.to_thread(parse, argument))
        elif chat.beside.batching.wish is None:
            raise UsageError(f"Name a folder, and say what is asked: {EXAMPLE}.")
        chat.open_batch()

    def completions(self, chat: "Front", argument: str) -> Found:
        """Offer folders, and files of rows, for the first word."""
        begin, word = last_word(argument)
        if argument[:begin].strip():
            return []
        if word and "stop".startswith(word) and chat.beside.batching.active:
            return completing.words(word, ["stop"])
        return completing.paths(argument, _is_rows)


def _is_rows(path: "Path") -> bool:
    return path.suffix.lower() == ".jsonl"

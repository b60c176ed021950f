"""The command that finds pictures by what they show."""

import asyncio
from typing import TYPE_CHECKING

from vlmchat.errors import UsageError
from vlmchat.talk.commands import completing
from vlmchat.talk.commands.base import Found, Seeing
from vlmchat.talk.desktop.pasted import last_word

if TYPE_CHECKING:
    from vlmchat.talk.front import Front


class Locate(Seeing):
    """Where is it?"""

    name = "locate"
    help = (
        "Find pictures and videos in a folder, and the folders in it, by what they show, to attach "
        "them; without words, shows what was found; “stop” ends it"
    )
    arguments = "[FOLDER SENTENCE]"
    prefilled = True

    async def run(self, chat: "Front", argument: str) -> None:
        """Begin, stop, or show how it stands."""
        from vlmchat.talk.locating import EXAMPLE, parse

        if argument == "stop":
            if not chat.beside.locating.stop():
                raise UsageError("Nothing is being looked for.")
            chat.notice("The search stops after the picture that is under way.")
            return
        if argument:
            chat.beside.locating.start(await asyncio.to_thread(parse, argument))
        elif chat.beside.locating.wish is None:
            raise UsageError(f"Name a folder, and say what to look for: {EXAMPLE}.")
        chat.open_located()

    def completions(self, chat: "Front", argument: str) -> Found:
        """Offer folders for the first word."""
        begin, word = last_word(argument)
        if argument[:begin].strip():
            return []
        if word and "stop".startswith(word) and chat.beside.locating.active:
            return completing.words(word, ["stop"])
        return completing.paths(argument, lambda _: False, folders_only=True)

"""The command that has the model make a set to learn from."""

import asyncio
from typing import TYPE_CHECKING

from vlmchat.errors import UsageError
from vlmchat.talk.commands import completing
from vlmchat.talk.commands.base import Completion, Completions, Found, Seeing
from vlmchat.talk.desktop.pasted import last_word

if TYPE_CHECKING:
    from vlmchat.talk.front import Front


class Synth(Seeing):
    """What can be asked about them?"""

    name = "synth"
    help = (
        "Have the model ask and answer about the pictures of a folder, to fine-tune on or to be "
        "judged by. Without words, shows how it stands; “stop” ends it, the same again goes on"
    )
    arguments = "[FOLDER] [KINDS]"
    prefilled = True

    async def run(self, chat: "Front", argument: str) -> None:
        """Begin, stop, or show how it stands."""
        from vlmchat.talk.synthesizing import EXAMPLE, parse

        if argument == "stop":
            if not chat.beside.synthesizing.stop():
                raise UsageError("No set is being made.")
            chat.notice("It stops after the piece of work that is under way.")
            return
        if argument:
            chat.beside.synthesizing.start(await asyncio.to_thread(parse, argument))
        elif chat.beside.synthesizing.wish is None:
            raise UsageError(f"Name a folder of pictures: {EXAMPLE}.")
        chat.open_synth()

    def completions(self, chat: "Front", argument: str) -> Found:
        """Offer folders, then kinds."""
        begin, word = last_word(argument)
        if argument[:begin].strip():
            return _kinds(argument[:begin], word)
        if word and "stop".startswith(word) and chat.beside.synthesizing.active:
            return completing.words(word, ["stop"])
        return completing.paths(argument, lambda _: False, folders_only=True)


def _kinds(before: str, word: str) -> Completions:
    from vlmchat.synth.recipe import KINDS

    chosen, comma, begun = word.rpartition(",")
    return [
        Completion(f"{before}{chosen}{comma}{item.text}", item.text, item.help)
        for item in completing.words(begun, KINDS)
    ]

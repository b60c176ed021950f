"""The command that puts an adapter against the model without it."""

import asyncio
from typing import TYPE_CHECKING

from vlmchat.talk.commands import completing
from vlmchat.talk.commands.base import Command, Found
from vlmchat.talk.commands.engine import remote_reason
from vlmchat.talk.desktop.pasted import expand, split_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vlmchat.talk.front import Front


class Judge(Command):
    """Is it better?"""

    name = "judge"
    engines = True
    help = (
        "Judge an adapter: the answers with and without it to the same questions, side by side and "
        "blind; what you choose is counted, and can be learned from"
    )
    arguments = "[NAME] [FILE]"

    def available(self, chat: "Front") -> str | None:
        """Need an engine of ours."""
        return remote_reason(chat, "adapter")

    async def run(self, chat: "Front", argument: str) -> None:
        """Begin, or go on where it was left."""
        from vlmchat.models.adapter import is_on_shelf

        words = split_words(argument)
        name = ""
        if words and (len(words) > 1 or await asyncio.to_thread(is_on_shelf, words[0])):
            name = words.pop(0)
        elif words and not await asyncio.to_thread(expand(words[0]).exists):
            name = words.pop(0)  # which is neither; the shelf says what there is
        await chat.open_judging(name, [expand(word) for word in words])

    def completions(self, chat: "Front", argument: str) -> Found:
        """Offer what is on the shelf."""
        return completing.adapters(argument, _shelf)


def _shelf() -> "Mapping[str, str]":
    from vlmchat.errors import VlmchatError
    from vlmchat.finetune.describing import line
    from vlmchat.finetune.shelf import list_adapters

    try:
        return {adapter.name: line(adapter) for adapter in list_adapters()}
    except VlmchatError:
        return {}

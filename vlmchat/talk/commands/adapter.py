"""The command about the adapter that is laid over the model."""

import asyncio
from typing import TYPE_CHECKING

from vlmchat.errors import UsageError
from vlmchat.talk.commands import completing
from vlmchat.talk.commands.base import Command, Found
from vlmchat.talk.commands.engine import remote_reason
from vlmchat.talk.desktop.pasted import expand, split_words
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from vlmchat.talk.front import Front

_OFF = ("off", "none")


class Adapter(Command):
    """What was learnt, laid over the model."""

    name = "adapter"
    help = (
        "Lay an adapter (a PEFT folder) over the model, which restarts the engine; “off” for none"
    )
    arguments = "[PATH | off]"
    prefilled = True

    def available(self, chat: "Front") -> str | None:
        """Need an engine of ours."""
        return remote_reason(chat, "adapter")

    async def run(self, chat: "Front", argument: str) -> None:
        """Change it, or say which one it is."""
        if not argument:
            chat.notice(_present(chat), "note")
        elif argument.lower() in _OFF:
            chat.change_engine(adapter="")
        else:
            chat.change_engine(adapter=await asyncio.to_thread(_folder, argument))

    def completions(self, chat: "Front", argument: str) -> Found:
        """Offer folders once a path is begun."""
        return completing.adapters(argument, dict)


def _folder(argument: str) -> str:
    """Return the folder that `argument` names, absolute; blocking.

    Raises:
        UsageError: it names several things.
        ModelError: there is no adapter in it.
    """
    from vlmchat.models.adapter import check_adapter

    folder = expand(argument)
    if not folder.is_dir():  # whose name may have spaces that nobody quoted
        words = split_words(argument)
        if len(words) != 1:
            raise UsageError("Name one folder: put quotes around a path with spaces.")
        folder = expand(words[0])
    check_adapter(folder)
    return str(folder.absolute())


def _present(chat: "Front") -> str:
    settings = chat.engine_changer.settings
    asked = settings.engine.adapter if settings else None
    model = chat.session.engine.model
    if asked is None:
        return "There is no adapter over the model: /adapter PATH lays one over it."
    loaded = f" (loaded: {visible_line(model.adapter)})" if model and model.adapter else ""
    return f"adapter: {visible_line(asked)}{loaded}. /adapter off goes on without it."

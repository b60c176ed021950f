"""The command about the adapter that is laid over the model."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from vlmchat.errors import UsageError
from vlmchat.models.adapter import OFF, is_on_shelf
from vlmchat.talk.commands import completing
from vlmchat.talk.commands.base import Command, Found
from vlmchat.talk.commands.engine import remote_reason
from vlmchat.talk.desktop.pasted import expand, split_words

if TYPE_CHECKING:
    from vlmchat.talk.front import Front

_OFF = ("off", "none")


class Adapter(Command):
    """What was learnt, laid over the model."""

    name = "adapter"
    engines = True
    aliases = ("adapters",)
    help = (
        "Lay an adapter over the model: its name on the shelf, or a PEFT folder; “off” for none, "
        "then without the model's own; without either, shows the shelf"
    )
    arguments = "[NAME | PATH | off]"
    prefilled = True

    def available(self, chat: "Front") -> str | None:
        """Need an engine that is not known to have its own."""
        from vlmchat.client.dialects import cannot

        if chat.session.engine.kind == "remote":
            return cannot(chat.session.engine.model, "adapter")
        return None

    async def run(self, chat: "Front", argument: str) -> None:
        """Change it, or show which there are."""
        if not argument:
            chat.open_adapters()
            return
        from vlmchat.models.local import READING

        if reason := remote_reason(chat, "adapter"):
            raise UsageError(reason)
        if argument.lower() in _OFF:
            chat.change_engine(adapter=OFF)
            return
        model = chat.session.engine.model
        # A model that is not loaded does not say; an adapter of that name on the shelf is meant.
        own = argument == (model.own_adapter if model else READING)
        if own and not await asyncio.to_thread(is_on_shelf, argument):
            chat.change_engine(adapter="")
        else:
            chat.change_engine(adapter=await asyncio.to_thread(_named, argument))

    def completions(self, chat: "Front", argument: str) -> Found:
        """Offer what is on the shelf, and folders once a path is begun."""
        model = chat.session.engine.model
        own = model.own_adapter if model else ""
        return completing.adapters(argument, lambda: _known(own))


def _known(own: str) -> Mapping[str, str]:
    """Return the adapters on the shelf with what tells one from the other; blocking.

    Args:
        own: the adapter that the model brings along, which comes first.
    """
    from vlmchat.errors import VlmchatError
    from vlmchat.finetune.describing import line
    from vlmchat.finetune.shelf import list_adapters

    try:
        shelf = {adapter.name: line(adapter) for adapter in list_adapters()}
    except VlmchatError:
        shelf = {}  # opening the shelf says what is wrong with it
    return ({own: "The model's own, with which it reads pictures"} if own else {}) | shelf


def _named(argument: str) -> str:
    """Return the name on the shelf that `argument` is, else the folder, absolute; blocking.

    Raises:
        UsageError: it names several things.
        ModelError: there is no adapter in it.
    """
    from vlmchat.models.adapter import check_adapter, find_adapter

    if is_on_shelf(argument):
        check_adapter(find_adapter(argument))
        return argument
    folder = expand(argument)
    if not folder.is_dir():  # whose name may have spaces that nobody quoted
        words = split_words(argument)
        if len(words) != 1:
            raise UsageError("Name one folder: put quotes around a path with spaces.")
        folder = expand(words[0])
    check_adapter(folder)
    return str(folder.absolute())

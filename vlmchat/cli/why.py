"""``vlmchat ask --why``: where the answer looked, as a picture and a sentence."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from vlmchat.errors import NotOurEngineError, UsageError
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from vlmchat.chat.messages import Message
    from vlmchat.client.api import EngineClient
    from vlmchat.client.evidence import Evidence


def check_why(path: Path, pictures: int) -> None:
    """Refuse what cannot be shown, before anything is asked.

    Raises:
        UsageError: there is no picture, or the file cannot be written.
    """
    shown = visible_line(str(path))
    if not pictures:
        raise UsageError("--why shows where on a picture the model looked: attach one with -a.")
    if path.suffix.lower() != ".png":
        raise UsageError(f"--why writes a PNG: name a file that ends in .png, not “{shown}”.")
    if path.exists():
        raise UsageError(f"--why: “{shown}” is there already: name another file.")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--why: there is no folder for “{shown}”: make it first.")


async def check_engine(client: "EngineClient") -> None:
    """Refuse an engine that cannot look, before it is asked anything.

    Raises:
        NotOurEngineError: it is not this program's own.
        EngineError: it is unreachable.
    """
    if not await client.is_ours():
        raise NotOurEngineError(
            "--why needs vlmchat's own engine, as others do not tell where they looked: leave out "
            "--engine-url, or leave out --why."
        )


async def why(
    client: "EngineClient",
    messages: "list[Message]",
    text: str,
    model: str,
    path: Path,
    *,
    videos: bool,
) -> "tuple[Evidence, str]":
    """Save where an answer looked, and return that in numbers and as a sentence.

    Args:
        client: of the engine.
        messages: what was asked.
        text: the answer.
        model: the name to ask for.
        path: a PNG that is not there yet.
        videos: whether the model has learned videos.

    Raises:
        VlmchatError: the engine cannot tell, or the file cannot be written.
    """
    from vlmchat.chat.messages import Message, TextPart
    from vlmchat.client.evidence import Wanted

    if not text.strip():
        raise UsageError("--why: the answer is empty, so it looked nowhere.")
    answered = [*messages, Message("assistant", (TextPart(text),))]
    found = await client.evidence(answered, Wanted(model=model), videos=videos)

    def save() -> list[str]:
        from vlmchat.media.overlay import pictures_sent, save_new, sheet

        pictures = pictures_sent(messages, videos=videos)
        hiding = found.hiding
        place = (hiding.picture, hiding.box) if hiding else (-1, None)
        save_new(path, sheet(pictures, found.chosen.shown, *place))
        return [picture.name for picture in pictures]

    return found, found.sentence(await asyncio.to_thread(save))

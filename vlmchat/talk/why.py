"""Where a reply looked: asked of the engine, kept while the person steps through its words."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vlmchat.errors import UsageError
from vlmchat.talk.longer import spoken_to
from vlmchat.talk.turns.tree import Turn, history
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from vlmchat.chat.messages import Media
    from vlmchat.client.evidence import Evidence
    from vlmchat.talk.session import ChatSession

Span = tuple[int, int]
REMOTE = (
    "The server at the other end does not tell where it looked: this needs vlmchat's own engine."
)


class Why:
    """What is known about where a reply looked.

    Args:
        session: whose engine is asked; the one that answers now, whatever answered then.
        turn: the reply.

    Attributes:
        text: the reply's.
    """

    def __init__(self, session: "ChatSession", turn: Turn) -> None:
        self._session = session
        self._messages = history(session.system, turn.lineage())
        self.text = turn.text
        self._found: dict[Span | None, Evidence] = {}
        self._pictures: list[Media] | None = None

    async def evidence(self, span: Span | None = None, *, hide: bool = True) -> "Evidence":
        """Return where a part of the reply looked, or all of it.

        Args:
            span: first character, and the one behind the last.
            hide: whether to find out what hiding the place does.

        Raises:
            VlmchatError: the engine cannot tell.
        """
        from vlmchat.client.evidence import Wanted

        known = self._found.get(span)
        if known is not None and (known.hiding is not None or not hide):
            return known
        engine = self._session.engine
        model = engine.model
        wanted = Wanted(span, hide, model=spoken_to(self._session))
        videos = bool(model and model.video)
        found = await engine.client.evidence(self._messages, wanted, videos=videos)
        self._found[span] = found
        return found

    async def pictures(self) -> "list[Media]":
        """Return the pictures as the engine got them, in their order.

        Raises:
            MediaError: one cannot be read.
        """
        from vlmchat.media.overlay import pictures_sent

        if self._pictures is None:
            model = self._session.engine.model
            videos = bool(model and model.video)
            self._pictures = await asyncio.to_thread(pictures_sent, self._messages, videos=videos)
        return self._pictures

    async def save(self, found: "Evidence", folder: Path) -> Path:
        """Save the pictures with the heat of what was chosen over them; return the new file.

        Raises:
            MediaError: a picture cannot be read, or the folder not be written to.
        """
        from vlmchat.media.overlay import save_new, sheet

        pictures = await self.pictures()
        number, box, _ = found.chosen.most
        if found.hiding is not None:
            number, box = found.hiding.picture, found.hiding.box

        def work() -> Path:
            path = free_path(folder, pictures[number].name)
            save_new(path, sheet(pictures, found.chosen.shown, number, box))
            return path

        return await asyncio.to_thread(work)


def why_not(session: "ChatSession", turn: Turn | None) -> str | None:
    """Return why nobody can say where a reply looked, as a sentence; ``None`` if somebody can."""
    model = session.engine.model
    if turn is None:
        return "Nothing was answered yet."
    if not any(item.attachments for item in turn.lineage()):
        return "There was no picture before this answer."
    if not turn.text.strip():
        return "This answer has no words."
    if session.engine.kind == "remote" and model is not None and model.processor is None:
        return REMOTE
    return None


def span_of(text: str, word: str) -> Span | None:
    """Return where a word stands first in an answer; ``None`` for no word.

    Raises:
        UsageError: it does not stand there.
    """
    wanted = word.strip().strip("“”\"'")
    if not wanted:
        return None
    begin = text.casefold().find(wanted.casefold())
    if begin < 0 or len(text) != len(text.casefold()):
        begin = text.find(wanted)
    if begin < 0:
        raise UsageError(f"“{visible_line(wanted)}” is not in the answer: name a word of it.")
    return begin, begin + len(wanted)


def free_path(folder: Path, name: str) -> Path:
    """Return a path for a picture about the one of a name, at which nothing is."""
    stem = "".join(char if char.isalnum() or char in "-_" else "-" for char in Path(name).stem)
    path, number = folder / f"why-{stem[:60] or 'picture'}.png", 1
    while path.exists():
        number += 1
        path = folder / f"why-{stem[:60] or 'picture'}-{number}.png"
    return path


def names_of(pictures: "Sequence[Media]") -> list[str]:
    """Return what the pictures are called."""
    return [picture.name for picture in pictures]

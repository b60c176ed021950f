"""Where an answer looked, in sentences."""

from vlmchat.plain.base import Base
from vlmchat.talk.turns.tree import Turn
from vlmchat.talk.why import Why, names_of, span_of
from vlmchat.text import visible_line


async def tell_why(front: Base, turn: Turn, word: str) -> None:
    """Say where an answer, or a word of it, looked, and what hiding that place does.

    Raises:
        VlmchatError: the engine cannot tell, or there is no such word.
    """
    looked = Why(front.session, turn)
    span = span_of(turn.text, word)
    front.notice("Looking at it once more, with parts of the picture hidden.")
    found = await looked.evidence(span)
    names = names_of(await looked.pictures())
    front.out.line(f"Why: {visible_line(found.sentence(names))}")

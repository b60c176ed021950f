"""Judging an adapter in plain lines: a question, two answers, a word."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vlmchat.errors import VlmchatError
from vlmchat.plain.base import Base, kind_of, part_facts
from vlmchat.talk.finetuning.comparing import Choice, Comparing
from vlmchat.text import visible

if TYPE_CHECKING:
    from vlmchat.finetune.compare import Prompt

_WORDS: dict[str, Choice] = {
    **{"l": "left", "1": "left", "left": "left"},
    **{"r": "right", "2": "right", "right": "right"},
    **{"t": "tie", "3": "tie", "tie": "tie", "=": "tie"},
    **{"b": "bad", "0": "bad", "bad": "bad", "both bad": "bad"},
}
_ASK = "Better: 1 or 2, t for as good, b for both bad; Enter to stop: "


async def judge(front: Base, name: str, files: Sequence[Path]) -> None:
    """Ask about one prompt after the other until all are judged, or the person stops."""
    try:
        comparing = await Comparing.begin(front.front, name, files)
    except VlmchatError as error:
        front.notice(str(error), "error")
        return
    try:
        for prompt in comparing.contest.waiting:
            if not await _one(front, comparing, prompt):
                break
    except VlmchatError as error:
        front.notice(str(error), "error")
    finally:
        front.notice(await comparing.close())


async def _one(front: Base, comparing: Comparing, prompt: "Prompt") -> bool:
    """Ask about one prompt; false when the person stops."""
    place = comparing.place
    both = await comparing.answers(prompt)
    for part in prompt.attachments:
        front.out.line(f"{kind_of(part)}: {part_facts(part)}")
    front.out.line(f"Question {place}: {visible(prompt.text)}")
    for number, who in enumerate(comparing.sides(prompt), 1):
        front.out.line(f"Answer {number}: {visible(both.of(who)) or '(no words)'}")
    while True:
        text = await front.next_line(_ASK)
        if text is None or not text.strip():
            return False
        if choice := _WORDS.get(text.strip().lower()):
            await comparing.judge(prompt, both, choice)
            return True
        front.notice("That is none of them.")

"""The work of an evaluation: draw, ask, judge, count; it can break off and go on anywhere."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from vlmchat.chat.messages import Message
from vlmchat.demo.drawing import judging, sources
from vlmchat.demo.drawing.examples import Example, example
from vlmchat.demo.evaluating.messages import message
from vlmchat.demo.evaluating.rows import Evaluation, Row, Wrong

_SAVE_SECONDS = 10.0


class Answers(Protocol):
    """What one answer tells; `answering.Said` is one."""

    @property
    def text(self) -> str:
        """What was said."""

    @property
    def seconds(self) -> float:
        """That it took; of several asked together, its share."""

    @property
    def prompt_tokens(self) -> int:
        """Of the whole prompt."""


class Asked(Protocol):
    """Who is asked; `answering.Answerer` is one."""

    @property
    def videos(self) -> bool:
        """Whether it has learned videos."""

    def ask_all(self, messages: Sequence[Message]) -> Sequence[Answers]:
        """Return what is said to each of some messages."""


@dataclass(frozen=True, slots=True)
class Watcher:
    """Who is told how an evaluation goes.

    Attributes:
        step: called after each answer, or after some that were asked for together.
        done: called when a task is at its end.
        save: called every few seconds, and after each task.
    """

    step: Callable[[Row], None]
    done: Callable[[Row], None]
    save: Callable[[Evaluation], None]


def packages() -> tuple[dict[str, str], ...]:
    """Return what drawing takes from packages on this machine: without them it draws other things.

    Each has ``package``, ``version``, ``registry``, ``taken`` (what is taken from it) and
    ``licence``.
    """
    absent = {package.folder for package in sources.missing()}
    return tuple(
        {
            "package": each.name,
            "version": each.version,
            "registry": each.registry,
            "taken": each.taken,
            "licence": each.licence,
        }
        for each in sources.PACKAGES
        if each.folder not in absent
    )


def drawn(evaluation: Evaluation, task: str, index: int) -> Example:
    """Return an example that nobody has trained on: the same one each time."""
    return example(task, "eval", evaluation.seed, index, evaluation.level)


def run(
    evaluation: Evaluation, tasks: tuple[str, ...], who: Asked, keep_wrong: int, watcher: Watcher
) -> Iterator[Evaluation]:
    """Ask what of the tasks has not been asked yet; yield the evaluation after each answer.

    Where the evaluation says so, several are asked together, and it is yielded after all of them.

    Args:
        evaluation: what is known already.
        tasks: their names, in order.
        who: answers.
        keep_wrong: how many wrong answers of a task are kept.
        watcher: is told how it goes.

    Raises:
        MediaError: a picture cannot be decoded.
    """
    saved = time.monotonic()
    for task in tasks:
        row = evaluation.row(task)
        asked_before = row.asked >= evaluation.count
        while row.asked < evaluation.count:
            until = min(evaluation.count, row.asked + evaluation.together)
            some = [drawn(evaluation, task, index) for index in range(row.asked, until)]
            row = asked(row, some, who, keep_wrong)
            evaluation = evaluation.with_row(row)
            watcher.step(row)
            if time.monotonic() - saved > _SAVE_SECONDS:
                watcher.save(evaluation)
                saved = time.monotonic()
            yield evaluation
        watcher.done(row)
        if not asked_before:
            watcher.save(evaluation)


def asked(row: Row, some: Sequence[Example], who: Asked, keep_wrong: int) -> Row:
    """Return the row with some more examples asked, together, and judged."""
    answers = who.ask_all(
        [message(one.images, one.question, frames=one.frames, videos=who.videos) for one in some]
    )
    for one, said in zip(some, answers, strict=True):
        row = _judged(row, one, said, keep_wrong)
    return row


def _judged(row: Row, one: Example, said: Answers, keep_wrong: int) -> Row:
    """Return the row with one more answer."""
    right = judging.right(one.task, one.facts, one.answer, said.text)
    changes: dict[str, Any] = {}
    if not right and len(row.wrong) < keep_wrong:
        wrong = Wrong(row.asked, one.question, one.answer, said.text)
        changes["wrong"] = (*row.wrong, wrong)
    return replace(
        row,
        right=row.right + right,
        asked=row.asked + 1,
        seconds=round(row.seconds + said.seconds, 4),
        prompt_tokens=row.prompt_tokens + said.prompt_tokens,
        **changes,
    )

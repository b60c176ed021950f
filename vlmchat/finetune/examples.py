"""One thing to learn from, whatever file it came from."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, TypeAlias

from vlmchat.chat.formats.values import BadRow
from vlmchat.chat.messages import ImagePart, Media, Message, TextPart
from vlmchat.text import visible_line

ExampleKind: TypeAlias = Literal["sft", "preference", "kto"]
DropWhy: TypeAlias = Literal["row", "missing", "unreadable", "outside"]


@dataclass(frozen=True, slots=True)
class Source:
    """Where an example comes from.

    Attributes:
        file: name of the file, or what stands for it.
        line: where the row begins, from 1; ``None`` when it is in no line.
        item: its number in a list, from 1; 0 when it stands in no list.
        form: what was recognised: ``messages``, ``sharegpt``, ``prompt-completion``,
            ``preference``, ``kto``, ``vlmchat``, ``chatgpt``.
    """

    file: str
    line: int | None = None
    item: int = 0
    form: str = ""

    def __str__(self) -> str:
        """Return file, line and item on one line."""
        where = f", line {self.line}" if self.line is not None else ""
        return f"{visible_line(self.file)}{where}{f', item {self.item}' if self.item else ''}"


@dataclass(frozen=True, slots=True)
class Dropped:
    """A row that nothing is learned from.

    Attributes:
        file: name of the file.
        line: where the row begins, from 1; ``None`` when the whole file is meant.
        reason: one sentence.
        item: its number in a list, from 1; 0 when it stands in no list.
        why: ``missing``: a picture or video does not exist; ``unreadable``: it is none or damaged;
            ``outside``: it lies outside the file's folder and was not read; else ``row``.
        path: of that picture or video.
    """

    file: str
    line: int | None
    reason: str
    item: int = 0
    why: DropWhy = "row"
    path: Path | None = None

    def __str__(self) -> str:
        """Return where and why on one line."""
        return f"{Source(self.file, self.line, self.item)}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Example:
    """What is learned from in one piece.

    Attributes:
        kind: ``sft``: `messages` is a conversation and `trained` says which turns of it are
            learned; ``preference``: after the prompt `messages`, `chosen` is better than
            `rejected`; ``kto``: after the prompt, `completion` is good or bad as `label` says.
        messages: the whole conversation, or the prompt.
        source: where it comes from.
        group: which conversation it belongs to; examples of one group are never parted.
        trained: for ``sft``, the places in `messages` that are trained on: assistant turns.
        chosen: assistant's, for ``preference``.
        rejected: assistant's, for ``preference``.
        completion: assistant's, for ``kto``.
        label: for ``kto``.
    """

    kind: ExampleKind
    messages: tuple[Message, ...]
    source: Source
    group: str
    trained: tuple[int, ...] = ()
    chosen: tuple[Message, ...] = ()
    rejected: tuple[Message, ...] = ()
    completion: tuple[Message, ...] = ()
    label: bool | None = None

    @property
    def media(self) -> tuple[Media, ...]:
        """The pictures and videos of all its messages, in order, each as often as it occurs."""
        return tuple(medium for message in self.all_messages for medium in message.media)

    @property
    def all_messages(self) -> tuple[Message, ...]:
        """Prompt and answers."""
        return (*self.messages, *self.chosen, *self.rejected, *self.completion)

    def branches(self) -> tuple[tuple[tuple[Message, ...], tuple[int, ...]], ...]:
        """Return each sequence the model is run on, and the places in it that are trained on.

        One for ``sft`` and ``kto``; chosen first, then rejected, for ``preference``.
        """
        if self.kind == "sft":
            return ((self.messages, self.trained),)
        ends = (self.chosen, self.rejected) if self.kind == "preference" else (self.completion,)
        start = len(self.messages)
        return tuple(
            (
                (*self.messages, *end),
                tuple(start + place for place, turn in enumerate(end) if turn.role == "assistant"),
            )
            for end in ends
        )

    @property
    def digest(self) -> str:
        """SHA-256 of what is learned: equal for equal examples, wherever they come from."""
        content = {
            "kind": self.kind,
            "messages": content_key(self.messages),
            "trained": self.trained,
            "answers": [content_key(self.chosen), content_key(self.rejected)],
            "completion": content_key(self.completion),
            "label": self.label,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def content_key(messages: Iterable[Message]) -> list[Any]:
    """Return what the model would be given, as JSON values; file names are left out."""
    return [[message.role, [_part_key(part) for part in message.parts]] for message in messages]


def _part_key(part: Any) -> list[Any]:  # noqa: ANN401 - JSON of any part
    if isinstance(part, TextPart):
        return ["text", part.text]
    if isinstance(part, ImagePart):
        edges = None if part.region is None else list(part.region.edges)
        return ["image", part.media.sha256, part.detail, edges]
    return ["video", part.media.sha256, list(part.clip.times), part.clip.duration]


def group_of(messages: Sequence[Message]) -> str:
    """Return a name for the conversation that begins with these messages.

    It is made of the first question with its pictures, so that longer and shorter copies of one
    conversation, and different answers to one question, fall into one group.
    """
    first = next((message for message in messages if message.role == "user"), messages[0])
    key = json.dumps(content_key([first]))
    return hashlib.sha256(key.encode()).hexdigest()[:32]


# Checks ----------------------------------------------------------------------------------------


def check(example: Example) -> Example:
    """Return `example` if it can be learned from.

    Raises:
        BadRow: its turns are out of order, an answer is missing, empty or holds a picture, or the
            two answers of a preference are the same.
    """
    if example.kind == "sft":
        _check_order(example.messages)
        if not any(message.role == "assistant" for message in example.messages):
            raise BadRow("It has no assistant turn: there is nothing to learn from.")
        if example.messages[-1].role != "assistant":
            raise BadRow("It ends with a question that nobody answers: remove it, or answer it.")
        if not example.trained:
            raise BadRow("All its assistant turns are marked as not to be learned.")
        _check_answers(message for message in example.messages if message.role == "assistant")
        return example
    for messages, _ in example.branches():
        if len(messages) == len(example.messages):
            raise BadRow("An answer is missing.")
        _check_order(messages)
    if not any(message.role == "user" for message in example.messages):
        raise BadRow("Its prompt asks nothing.")
    if example.messages[-1].role != "user":
        raise BadRow("Its prompt does not end with the user's turn.")
    answers = (*example.chosen, *example.rejected, *example.completion)
    _check_answers(message for message in answers if message.role == "assistant")
    if example.kind == "preference" and _same(example.chosen, example.rejected):
        raise BadRow("The chosen answer is the same as the rejected one.")
    return example


def _same(one: tuple[Message, ...], other: tuple[Message, ...]) -> bool:
    return content_key(one) == content_key(other)


def _check_order(messages: Sequence[Message]) -> None:
    """Check that the turns take turns: system at most once and first, then user and assistant."""
    turns = messages[1:] if messages and messages[0].role == "system" else messages
    if not turns:
        raise BadRow("Nobody says anything in it.")
    start = len(messages) - len(turns)
    for place, message in enumerate(turns, start + 1):
        if message.role == "system":
            raise BadRow(f"Message {place} is a system message, which can only be the first.")
    if turns[0].role == "assistant":
        raise BadRow("The assistant speaks before anything is asked.")
    for place, (one, other) in enumerate(pairwise(turns), start + 2):
        if one.role == other.role:
            who = "the user" if one.role == "user" else "the assistant"
            raise BadRow(f"Message {place} is out of order: {who} speaks twice in a row.")


def _check_answers(answers: Iterable[Message]) -> None:
    for message in answers:
        if message.media:
            raise BadRow("An answer holds a picture or a video, which the model cannot write.")
        if not message.text.strip():
            raise BadRow("An answer is empty.")

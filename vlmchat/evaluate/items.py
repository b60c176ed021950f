"""One question of a set, and the sets."""

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from vlmchat.chat.messages import (
    Attachment,
    Detail,
    ImagePart,
    Message,
    TextPart,
    user_message,
    with_detail,
)
from vlmchat.evaluate.metrics.choices import letters
from vlmchat.evaluate.metrics.registry import MetricName


@dataclass(frozen=True, slots=True)
class Wording:
    """How the questions of a set are put to a model.

    Attributes:
        suffix: stands behind each question.
        system: the system prompt of questions that bring none; empty for none.
        detail: how finely pictures are looked at; ``None`` leaves what the set says, else ``auto``.
    """

    suffix: str = ""
    system: str = ""
    detail: Detail | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """One question with what is right.

    Attributes:
        id: as the set calls it, else where it stands there; no two of a set share one.
        question: as the set has it.
        answers: what is right; several where several people answered.
        pictures: files that are read when it is asked.
        messages: of a set that is a log: the conversation up to the question, pictures in it.
        options: to choose from, in order; the first is option A.
        category: of which kind the question is; empty where the set does not say.
    """

    id: str
    question: str
    answers: tuple[str, ...]
    pictures: tuple[Path, ...] = ()
    messages: tuple[Message, ...] = ()
    options: tuple[str, ...] = ()
    category: str = ""

    @property
    def group(self) -> str:
        """What it shares with the other questions about the same pictures."""
        if self.pictures:
            return "|".join(map(str, self.pictures))
        media = [medium.sha256 for message in self.messages for medium in message.media]
        return "|".join(media) or self.id

    @property
    def names(self) -> tuple[str, ...]:
        """The pictures' names, for a person."""
        if self.pictures:
            return tuple(path.name for path in self.pictures)
        return tuple(medium.name for message in self.messages for medium in message.media)

    def key(self, wording: Wording) -> str:
        """Return what tells the question from others: a hash of how it is put."""
        asked = [self.id, self.text(wording), self.group, wording.system, wording.detail]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:32]

    def text(self, wording: Wording) -> str:
        """Return the question as it is put, with its options and the suffix."""
        options = "".join(f"\n({letter}) {text}" for letter, text in letters(self.options).items())
        return f"{self.question}{options}{wording.suffix}"

    def asked(self, wording: Wording) -> list[Message]:
        """Return what the model gets; blocking, as pictures are read.

        Raises:
            MediaError: a picture cannot be read.
        """
        if self.messages:
            messages = [_detailed(message, wording.detail) for message in self.messages]
            last = messages.pop()
            attached = [part for part in last.parts if not isinstance(part, TextPart)]
            unchanged = not (self.options or wording.suffix)
            messages.append(last if unchanged else user_message(self.text(wording), attached))
        else:
            messages = [user_message(self.text(wording), self._read(wording.detail))]
        if wording.system and messages[0].role != "system":
            messages.insert(0, Message("system", (TextPart(wording.system),)))
        return messages

    def attachments(self) -> tuple[Attachment, ...]:
        """Return its pictures and videos; blocking.

        Raises:
            MediaError: one cannot be read.
        """
        if self.messages:
            return tuple(part for message in self.messages for part in message.attachments)
        return self._read(None)

    def _read(self, detail: Detail | None) -> tuple[Attachment, ...]:
        from vlmchat.media.images import load_media

        return tuple(ImagePart(load_media(path), detail or "auto") for path in self.pictures)


def _detailed(message: Message, detail: Detail | None) -> Message:
    if detail is None or not message.media:
        return message
    parts = tuple(
        part if isinstance(part, TextPart) else with_detail([part], detail)[0]
        for part in message.parts
    )
    return replace(message, parts=parts)


@dataclass(frozen=True, slots=True)
class EvalSet:
    """Questions to ask.

    Attributes:
        name: for a person.
        kind: what was recognised, as ``ChartQA``.
        items: the questions, in the set's order.
        metric: the one that fits.
        suffix: the wording that the benchmark's questions are put with.
        notes: what was left out, one sentence each.
        seed: that questions were drawn with; ``None`` where all are there.
    """

    name: str
    kind: str
    items: tuple[Item, ...]
    metric: MetricName
    suffix: str = ""
    notes: tuple[str, ...] = field(default=())
    seed: int | None = None

    def drawn(self, limit: int | None, seed: int) -> "EvalSet":
        """Return a set with `limit` of the questions, drawn by chance, in the same order."""
        if limit is None or limit >= len(self.items):
            return self
        places = random.Random(seed).sample(range(len(self.items)), limit)  # noqa: S311
        chosen = tuple(self.items[place] for place in sorted(places))
        note = f"{limit} of {len(self.items):,} questions were drawn (seed {seed})."
        return replace(self, items=chosen, notes=(*self.notes, note), seed=seed)


def unlike(items: Sequence[Item]) -> tuple[Item, ...]:
    """Return the items with a number behind each id that another one had before."""
    seen: dict[str, int] = {}
    found: list[Item] = []
    for item in items:
        seen[item.id] = times = seen.get(item.id, 0) + 1
        found.append(item if times == 1 else replace(item, id=f"{item.id} ({times})"))
    return tuple(found)

"""Conversations as other programs write them, one a row: OpenAI, the course, TRL, ShareGPT, LLaVA.

Sources: OpenAI's chat-completions reference; the dataset formats of TRL's documentation; the
``conversations`` rows of ShareGPT (as FastChat and LLaMA-Factory document them) and of LLaVA's
"Finetune on custom datasets".
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from vlmchat.chat.conversation import Author, Conversation, Entry, Label
from vlmchat.chat.formats.parts import message_of, picture_of
from vlmchat.chat.formats.sources import Pictures
from vlmchat.chat.formats.values import (
    BadRow,
    dict_of,
    list_of,
    role_of,
    time_of,
    title_from,
)
from vlmchat.chat.messages import ImagePart, Message, Part, TextPart

_MARK = "<image>"
_CREATED = ("created", "created_at", "create_time", "timestamp")
_UPDATED = ("updated", "updated_at", "update_time")


def from_messages(row: dict[str, Any], pictures: Pictures) -> Conversation:
    """Return the conversation in a row with ``messages``, and ``images`` if it has them."""
    images = _images(row)
    messages = _typed(list_of(row.get("messages"), "“messages”"), images, pictures)
    return _linear(row, messages)


def from_turns(row: dict[str, Any], pictures: Pictures) -> Conversation:
    """Return the conversation in a row with ``conversations``: ShareGPT, LLaVA."""
    messages: list[Message] = []
    for item in list_of(row.get("conversations"), "“conversations”"):
        turn = dict_of(item, "A turn")
        role = role_of(turn.get("from", turn.get("role")))
        text = turn.get("value", turn.get("content"))
        if not isinstance(text, str):
            raise BadRow("A turn's “value” is missing or not a text.")
        messages.append(Message(role, (TextPart(text),)))
    if isinstance(system := row.get("system"), str) and system:
        messages.insert(0, Message("system", (TextPart(system),)))
    media = [ImagePart(picture_of(item, pictures)) for item in _images(row)]
    return _linear(row, _placed(messages, media))


def from_training(row: dict[str, Any], pictures: Pictures) -> Conversation:
    """Return the conversation in a row of TRL's that trains by completions or preferences.

    ``completion`` with ``label`` becomes a reply that is good or bad; ``chosen`` and ``rejected``
    become siblings, one better than the other.
    """
    names = ("chosen", "rejected") if "chosen" in row else ("completion",)
    waiting = _Waiting(_images(row))
    prompt = _side(row, "prompt", "user", pictures, waiting)
    sides = [_side(row, name, "assistant", pictures, waiting) for name in names]
    if waiting.left:  # TRL puts them before the first question
        media = [ImagePart(picture_of(item, pictures)) for item in waiting.left]
        prompt = _placed(prompt, media)
    if not all(sides):
        raise BadRow(f"There is no message under “{names[0]}” or “{names[-1]}”.")
    conversation = _linear(row, [*prompt, *sides[0]])
    entries = list(conversation.entries)
    place = len(entries) - len(sides[0])
    if len(sides) == 1:
        if isinstance(row.get("label"), bool):
            label = Label("good" if row["label"] else "bad")
            entries[-1] = _labelled(entries[-1], label)
        return _with(conversation, entries)
    parent = entries[place].parent
    other = _entries(conversation.uid, sides[1], parent, conversation.created, len(entries))
    entries[place] = _labelled(entries[place], Label("better", other[0].uid))
    return _with(conversation, [*entries, *other])


def _side(
    row: dict[str, Any], name: str, role: str, pictures: Pictures, waiting: "_Waiting"
) -> list[Message]:
    value = row.get(name)
    if isinstance(value, str):
        value = [{"role": role, "content": value}]
    items = list_of(value, f"“{name}”")
    return [message_of(item, pictures, waiting) for item in items]


def _labelled(entry: Entry, label: Label) -> Entry:
    return replace(entry, labels=(label,))


def _with(conversation: Conversation, entries: Sequence[Entry]) -> Conversation:
    return replace(conversation, entries=tuple(entries))


class _Waiting(Iterator[object]):
    """The pictures of a row that no part has taken yet."""

    def __init__(self, images: Sequence[object]) -> None:
        self.left = list(images)

    def __next__(self) -> object:
        if not self.left:
            raise StopIteration
        return self.left.pop(0)


def _images(row: dict[str, Any]) -> list[object]:
    if row.get("video") or row.get("videos"):
        raise BadRow("It has a video, and videos are not supported yet.")
    found: list[object] = []
    for name in ("images", "image"):
        value = row.get(name)
        if value is not None:
            found += value if isinstance(value, list) else [value]
    return found


def _typed(rows: list[Any], images: Sequence[object], pictures: Pictures) -> list[Message]:
    waiting = _Waiting(images)
    messages = [message_of(item, pictures, waiting) for item in rows]
    if not waiting.left:
        return messages
    if len(waiting.left) < len(images):
        raise BadRow(
            f"“images” has {len(images)} pictures, and the messages have a place for "
            f"{len(images) - len(waiting.left)}."
        )
    return _placed(messages, [ImagePart(picture_of(item, pictures)) for item in images])


def _placed(messages: list[Message], media: list[ImagePart]) -> list[Message]:
    """Put pictures where ``<image>`` stands; before the first question where it stands nowhere."""
    if not media:
        return messages
    marks = sum(message.text.count(_MARK) for message in messages)
    if marks not in (0, len(media)):
        raise BadRow(f"There are {len(media)} pictures, and {_MARK} stands {marks} times.")
    if marks:
        rest = iter(media)
        return [_split(message, rest) for message in messages]
    for index, message in enumerate(messages):
        if message.role == "user":
            placed = Message("user", (*media, *message.parts))
            return [*messages[:index], placed, *messages[index + 1 :]]
    raise BadRow("There are pictures, and nobody asks anything.")


def _split(message: Message, media: Iterator[ImagePart]) -> Message:
    parts: list[Part] = []
    for part in message.parts:
        if not isinstance(part, TextPart) or _MARK not in part.text:
            parts.append(part)
            continue
        for number, text in enumerate(part.text.split(_MARK)):
            if number:
                parts.append(next(media))
                text = text.removeprefix("\n")  # noqa: PLW2901 - the mark's own line end
            text = text.removesuffix("\n") if number < part.text.count(_MARK) else text  # noqa: PLW2901
            if text:
                parts.append(TextPart(text))
    return Message(message.role, tuple(parts))


def _linear(row: dict[str, Any], messages: list[Message]) -> Conversation:
    """Return a conversation without branches, named by its contents.

    The same row always gets the same uid, so that it is known when it is imported again.
    """
    if not messages:
        raise BadRow("There is no message in it.")
    canonical = json.dumps(row, sort_keys=True, ensure_ascii=True)
    uid = hashlib.sha256(canonical.encode()).hexdigest()[:32]
    system = ""
    first = messages[0]
    if first.role == "system" and not first.media:
        system, messages = first.text, messages[1:]
    created = time_of(row, *_CREATED)
    entries = _entries(uid, messages, None, created, 0)
    asked = next((message.text for message in messages if message.role == "user"), "")
    title = row.get("title")
    return Conversation(
        uid,
        title if isinstance(title, str) and title else title_from(asked),
        system,
        created,
        time_of(row, *_UPDATED) or created,
        tip=entries[-1].uid if entries else None,
        entries=tuple(entries),
    )


def _entries(
    uid: str, messages: Sequence[Message], parent: str | None, created: float, first: int
) -> list[Entry]:
    entries: list[Entry] = []
    for number, message in enumerate(messages, first):
        own = hashlib.sha256(f"{uid}/{number}".encode()).hexdigest()[:32]
        author: Author = "model" if message.role == "assistant" else "person"
        entries.append(Entry(own, parent, message, author, created=created))
        parent = own
    return entries

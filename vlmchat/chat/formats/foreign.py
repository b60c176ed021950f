"""Conversations as other programs write them, one a row: OpenAI, the course, TRL, ShareGPT, LLaVA.

Sources: OpenAI's chat-completions reference; the dataset formats of TRL's documentation; the
``conversations`` rows of ShareGPT (as FastChat and LLaMA-Factory document them) and of LLaVA's
"Finetune on custom datasets".
"""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from vlmchat.chat.conversation import Author, Conversation, Entry, Label
from vlmchat.chat.formats.parts import Kind, Waiting, message_of, picture_of, video_of
from vlmchat.chat.formats.sources import Sources
from vlmchat.chat.formats.values import (
    BadRow,
    dict_of,
    list_of,
    role_of,
    time_of,
    title_from,
)
from vlmchat.chat.messages import Attachment, ImagePart, Message, Part, TextPart

_MARKS: dict[Kind, str] = {"image": "<image>", "video": "<video>"}
_CREATED = ("created", "created_at", "create_time", "timestamp")
_UPDATED = ("updated", "updated_at", "update_time")


def from_messages(row: dict[str, Any], sources: Sources) -> Conversation:
    """Return the conversation in a row with ``messages``, and ``images`` or ``videos``."""
    return _linear(row, messages_in(row, sources))


def from_turns(row: dict[str, Any], sources: Sources) -> Conversation:
    """Return the conversation in a row with ``conversations``: ShareGPT, LLaVA."""
    return _linear(row, turns_in(row, sources))


def messages_in(row: dict[str, Any], sources: Sources) -> list[Message]:
    """Return the ``messages`` of a row, with its ``images`` or ``videos`` in their places."""
    return _typed(list_of(row.get("messages"), "“messages”"), row, sources)


def turns_in(row: dict[str, Any], sources: Sources) -> list[Message]:
    """Return the ``conversations`` of a row as messages, with its pictures in their places."""
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
    return _placed(messages, _beside(row), sources)


def from_training(row: dict[str, Any], sources: Sources) -> Conversation:
    """Return the conversation in a row of TRL's that trains by completions or preferences.

    ``completion`` with ``label`` becomes a reply that is good or bad; ``chosen`` and ``rejected``
    become siblings, one better than the other.
    """
    names = ("chosen", "rejected") if "chosen" in row else ("completion",)
    waiting = _beside(row)
    prompt = _side(row, "prompt", "user", sources, waiting)
    sides = [_side(row, name, "assistant", sources, waiting) for name in names]
    prompt = _placed(prompt, waiting, sources)  # TRL puts them before the first question
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
    row: dict[str, Any], name: str, role: str, sources: Sources, waiting: Waiting
) -> list[Message]:
    value = row.get(name)
    if isinstance(value, str):
        value = [{"role": role, "content": value}]
    items = list_of(value, f"“{name}”")
    return [message_of(item, sources, waiting) for item in items]


def _labelled(entry: Entry, label: Label) -> Entry:
    return replace(entry, labels=(label,))


def _with(conversation: Conversation, entries: Sequence[Entry]) -> Conversation:
    return replace(conversation, entries=tuple(entries))


def _beside(row: dict[str, Any]) -> Waiting:
    """Return the media that a row lists beside what is said."""
    found: dict[str, list[object]] = {"image": [], "video": []}
    for kind in found:
        for name in (f"{kind}s", kind):
            value = row.get(name)
            if value is not None:
                found[kind] += value if isinstance(value, list) else [value]
    return Waiting(found["image"], found["video"])


def _typed(rows: list[Any], row: dict[str, Any], sources: Sources) -> list[Message]:
    waiting, whole = _beside(row), _beside(row)
    messages = [message_of(item, sources, waiting) for item in rows]
    for kind, items in whole.left.items():
        left = len(waiting.left[kind])
        if 0 < left < len(items):
            what = "pictures" if kind == "image" else "videos"
            raise BadRow(
                f"“{kind}s” has {len(items)} {what}, and the messages have a place for "
                f"{len(items) - left}."
            )
    return _placed(messages, waiting, sources)


def _placed(messages: list[Message], waiting: Waiting, sources: Sources) -> list[Message]:
    """Put media where ``<image>`` or ``<video>`` stands, else before the first question."""
    media: dict[Kind, list[Attachment]] = {
        "image": [ImagePart(picture_of(item, sources)) for item in waiting.left["image"]],
        "video": [video_of(item, sources) for item in waiting.left["video"]],
    }
    marked: dict[str, Iterator[Attachment]] = {}
    first: list[Attachment] = []
    for kind, items in media.items():
        mark = _MARKS[kind]
        marks = sum(message.text.count(mark) for message in messages) if items else 0
        if marks not in (0, len(items)):
            what = "pictures" if kind == "image" else "videos"
            raise BadRow(f"There are {len(items)} {what}, and {mark} stands {marks} times.")
        if marks:
            marked[mark] = iter(items)
        else:
            first += items
    if marked:
        messages = [_split(message, marked) for message in messages]
    if not first:
        return messages
    for index, message in enumerate(messages):
        if message.role == "user":
            placed = Message("user", (*first, *message.parts))
            return [*messages[:index], placed, *messages[index + 1 :]]
    what = "videos" if not media["image"] else "pictures"
    raise BadRow(f"There are {what}, and nobody asks anything.")


def _split(message: Message, marked: dict[str, Iterator[Attachment]]) -> Message:
    pattern = re.compile("|".join(map(re.escape, marked)))
    parts: list[Part] = []
    for part in message.parts:
        if not isinstance(part, TextPart) or not pattern.search(part.text):
            parts.append(part)
            continue
        texts, marks = pattern.split(part.text), pattern.findall(part.text)
        for number, text in enumerate(texts):
            if number:
                parts.append(next(marked[marks[number - 1]]))
                text = text.removeprefix("\n")  # noqa: PLW2901 - the mark's own line end
            text = text.removesuffix("\n") if number < len(marks) else text  # noqa: PLW2901
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

"""Rows that fine-tuning learns from, made of what a person thought of the replies.

``sft`` rows are in the chat format of the SmolVLM course; ``kto`` and ``preference`` rows are in
TRL's conversational format (unpaired preference, and preference with an explicit prompt), with the
pictures of the prompt in ``images`` and a place for each in its message; videos are parts with
their path and the times of their frames, cropped pictures have their ``region``. ``source`` says
which conversation and message a row comes from.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, TypeAlias

from vlmchat.chat.conversation import Conversation, Entry
from vlmchat.chat.formats.own import dumps, message_row
from vlmchat.chat.formats.parts import video_row
from vlmchat.chat.formats.values import Link
from vlmchat.chat.messages import Media, Message, TextPart, VideoPart

Training: TypeAlias = Literal["sft", "kto", "preference"]
_Row: TypeAlias = dict[str, Any]


class _Tree:
    """A conversation with its entries by their uid."""

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.by_uid = {entry.uid: entry for entry in conversation.entries}
        self.replies = [
            entry
            for entry in conversation.entries
            if entry.message.role == "assistant" and entry.message.parts
        ]
        # The replies that a person has written something better for.
        self.corrected = {
            label.other
            for entry in self.replies
            for label in entry.labels
            if label.kind == "correction"
        }

    def prompt(self, reply: Entry) -> list[Message]:
        """Return what was said before a reply, the system prompt that it was given first."""
        said: list[Message] = []
        parent = reply.parent
        while parent is not None:
            entry = self.by_uid[parent]
            said.append(entry.message)
            parent = entry.parent
        system = self._system(reply)
        if system:
            said.append(Message("system", (TextPart(system),)))
        return said[::-1]

    def _system(self, reply: Entry) -> str:
        if reply.provenance is not None:
            return reply.provenance.system
        for label in reply.labels:  # a correction was given what the model had been given
            other = self.by_uid.get(label.other)
            if label.kind == "correction" and other is not None and other.provenance is not None:
                return other.provenance.system
        return self.conversation.system

    def siblings(self, entry: Entry, kind: str) -> Iterator[Entry]:
        """Yield the replies that labels of `kind` compare a reply with."""
        for label in entry.labels:
            other = self.by_uid.get(label.other)
            if label.kind == kind and other is not None and other.parent == entry.parent:
                yield other

    def source(self, entry: Entry) -> dict[str, str]:
        """Return where a row comes from."""
        return {"conversation": self.conversation.uid, "message": entry.uid}


def _kinds(entry: Entry) -> set[str]:
    return {label.kind for label in entry.labels}


def training_rows(
    conversations: Iterable[Conversation], form: Training, link: Link, *, every: bool = False
) -> Iterator[str]:
    """Yield the rows of a training set, one line of JSON each.

    Args:
        conversations: whole ones, with their labels.
        form: ``sft``: a conversation up to each complete reply that was rated good or that a
            person wrote as a correction; ``kto``: prompt, completion, and whether it was good
            (what was corrected was not); ``preference``: prompt, chosen, rejected, from replies
            that are better than a sibling and from corrections.
        link: what stands for a picture.
        every: for ``sft``: each complete reply that was neither rated bad nor corrected.
    """
    for conversation in conversations:
        tree = _Tree(conversation)
        rows = _sft(tree, link, every) if form == "sft" else _MAKERS[form](tree, link)
        yield from (dumps(row) + "\n" for row in rows)


def _sft(tree: _Tree, link: Link, every: bool) -> Iterator[_Row]:
    for entry in tree.replies:
        kinds = _kinds(entry)
        good = "good" in kinds or "correction" in kinds
        ruled_out = "bad" in kinds or entry.uid in tree.corrected
        if entry.state == "complete" and (good or (every and not ruled_out)):
            messages = [*tree.prompt(entry), entry.message]
            yield {
                "messages": [message_row(message, link) for message in messages],
                "source": tree.source(entry),
            }


def _kto(tree: _Tree, link: Link) -> Iterator[_Row]:
    for entry in tree.replies:
        kinds = _kinds(entry)
        good = entry.state == "complete" and ("good" in kinds or "correction" in kinds)
        if good or "bad" in kinds or entry.uid in tree.corrected:
            prompt, images = typed(tree.prompt(entry), link)
            completion, more = typed([entry.message], link)
            yield {
                "prompt": prompt,
                "completion": completion,
                "label": good,
                "images": images + more,
                "source": tree.source(entry),
            }


def _preference(tree: _Tree, link: Link) -> Iterator[_Row]:
    for entry in tree.replies:
        rejected = {
            other.uid: other
            for kind in ("better", "correction")
            for other in tree.siblings(entry, kind)
            if other.message.parts
        }
        for other in rejected.values():
            prompt, images = typed(tree.prompt(entry), link)
            yield {
                "prompt": prompt,
                "chosen": typed([entry.message], link)[0],
                "rejected": typed([other.message], link)[0],
                "images": images,
                "source": tree.source(entry) | {"rejected": other.uid},
            }


def typed(messages: Iterable[Message], link: Link) -> tuple[list[_Row], list[str]]:
    """Return messages with an ``image`` part for each picture, and the pictures in order.

    TRL fills the parts from the list; what it does not know (the region that was meant, videos
    with their frames) stands in the part itself.
    """
    media: list[Media] = []
    rows: list[_Row] = []
    for message in messages:
        content: list[_Row] = []
        for part in message.parts:
            if isinstance(part, TextPart):
                content.append({"type": "text", "text": part.text})
            elif isinstance(part, VideoPart):
                content.append(video_row(part, link))
            else:
                region = {} if part.region is None else {"region": list(part.region.edges)}
                content.append({"type": "image"} | region)
                media.append(part.media)
        rows.append({"role": message.role, "content": content})
    return rows, [link(item) for item in media]


_MAKERS: dict[str, Callable[[_Tree, Link], Iterator[_Row]]] = {
    "kto": _kto,
    "preference": _preference,
}

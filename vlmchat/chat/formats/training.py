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
from vlmchat.chat.rated import RatedReplies

Training: TypeAlias = Literal["sft", "kto", "preference"]
_Row: TypeAlias = dict[str, Any]


def _source(rated: RatedReplies, entry: Entry) -> dict[str, str]:
    """Return where a row comes from."""
    return {"conversation": rated.conversation.uid, "message": entry.uid}


def training_rows(
    conversations: Iterable[Conversation], form: Training, link: Link, *, every: bool = False
) -> Iterator[str]:
    """Yield the rows of a training set, one line of JSON each.

    Args:
        conversations: whole ones, with their labels.
        form: ``sft``: a conversation up to each complete reply that was rated good, or that a
            person wrote as a correction, unless it was itself corrected; ``kto``: prompt,
            completion, and whether it was good (what was corrected was not); ``preference``:
            prompt, chosen, rejected, from replies that are better than a sibling and from
            corrections.
        link: what stands for a picture.
        every: for ``sft``: each complete reply that was neither rated bad nor corrected.
    """
    for conversation in conversations:
        rated = RatedReplies(conversation)
        rows = _sft(rated, link, every) if form == "sft" else _MAKERS[form](rated, link)
        yield from (dumps(row) + "\n" for row in rows)


def _sft(rated: RatedReplies, link: Link, every: bool) -> Iterator[_Row]:
    for entry in rated.replies:
        if rated.good(entry) or (every and rated.unspoiled(entry)):
            messages = [*rated.prompt(entry), entry.message]
            yield {
                "messages": [message_row(message, link) for message in messages],
                "source": _source(rated, entry),
            }


def _kto(rated: RatedReplies, link: Link) -> Iterator[_Row]:
    for entry in rated.replies:
        good = rated.good(entry)
        if good or rated.bad(entry):
            prompt, images = typed(rated.prompt(entry), link)
            completion, more = typed([entry.message], link)
            yield {
                "prompt": prompt,
                "completion": completion,
                "label": good,
                "images": images + more,
                "source": _source(rated, entry),
            }


def _preference(rated: RatedReplies, link: Link) -> Iterator[_Row]:
    for entry in rated.replies:
        for other in rated.worse(entry):
            prompt, images = typed(rated.prompt(entry), link)
            yield {
                "prompt": prompt,
                "chosen": typed([entry.message], link)[0],
                "rejected": typed([other.message], link)[0],
                "images": images,
                "source": _source(rated, entry) | {"rejected": other.uid},
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


_MAKERS: dict[str, Callable[[RatedReplies, Link], Iterator[_Row]]] = {
    "kto": _kto,
    "preference": _preference,
}

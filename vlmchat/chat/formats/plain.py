"""Plain text for a terminal or a pipe."""

from collections.abc import Callable, Iterator

from vlmchat.chat.conversation import Conversation, Entry
from vlmchat.chat.formats.described import (
    children_of,
    date_of,
    frames_line,
    region_line,
    remarks_of,
    speaker_of,
    title_of,
)
from vlmchat.chat.messages import Attachment, TextPart, VideoPart
from vlmchat.text import visible_line


def plain_lines(conversation: Conversation, safe: Callable[[str], str]) -> Iterator[str]:
    """Yield the path a conversation was left at, line by line.

    Args:
        conversation: what is shown.
        safe: makes text safe for where it goes (`visible` for a terminal).
    """
    yield title_of(conversation)
    dates = [date_of(conversation.created), visible_line(conversation.uid)]
    yield " · ".join(part for part in dates if part)
    if conversation.system:
        yield from ("", "[System]", safe(conversation.system))
    children = children_of(conversation)
    for entry in conversation.path():
        siblings = [other.uid for other in children[entry.parent]]
        place = f"{siblings.index(entry.uid) + 1}/{len(siblings)}" if len(siblings) > 1 else ""
        yield ""
        yield f"[{speaker_of(entry)}]" + _brackets([place, *remarks_of(entry)])
        for part in entry.message.parts:
            if isinstance(part, TextPart):
                yield safe(part.text)
            else:
                yield _named(part)


def _named(part: Attachment) -> str:
    media = part.media
    about = f"{visible_line(media.name)}, {media.width} × {media.height}"
    if isinstance(part, VideoPart):
        return f"(video: {about}, {frames_line(part)})"
    region = f", {region_line(part.region)}" if part.region is not None else ""
    return f"(picture: {about}{region})"


def tree_lines(conversation: Conversation) -> Iterator[str]:
    """Yield one line a message, indented where branches begin; ``*`` marks the current path."""
    children = children_of(conversation)
    path = {entry.uid for entry in conversation.path()}
    yield title_of(conversation)
    waiting = [(entry, 0) for entry in reversed(children.get(None, []))]
    while waiting:
        entry, depth = waiting.pop()
        mark = "*" if entry.uid in path else "-"
        yield f"{'  ' * depth}{mark} {speaker_of(entry)}: {_gist(entry)}" + _brackets(
            remarks_of(entry)
        )
        below = children.get(entry.uid, [])
        deeper = depth + (len(below) > 1)
        waiting += [(child, deeper) for child in reversed(below)]


def _gist(entry: Entry) -> str:
    media = "".join(f"({visible_line(item.name)}) " for item in entry.message.media)
    text = visible_line(" ".join(entry.message.text.split()))
    return f"{media}{text}" if len(text) <= 70 else f"{media}{text[:69]}…"


def _brackets(parts: list[str]) -> str:
    held = ", ".join(part for part in parts if part)
    return f" ({held})" if held else ""

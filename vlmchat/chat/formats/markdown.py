"""Markdown for people to read: the path a conversation was left at."""

import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote

from vlmchat.chat.conversation import Conversation, Entry
from vlmchat.chat.formats.described import (
    date_of,
    frames_line,
    region_line,
    remarks_of,
    speaker_of,
    title_of,
)
from vlmchat.chat.formats.values import Link
from vlmchat.chat.messages import Attachment, TextPart, VideoPart
from vlmchat.text import visible, visible_line

_SPECIAL = re.compile(r"[\\`*_\[\]<>#|~&$]")
_LINE_START = re.compile(r"^(\s*\d*)([-+=.)])")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})([^\n]*)\Z")
_CODE_SPAN = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)")
_TAG = re.compile(r"<(?=[A-Za-z/!?])(?!https?://|mailto:)")


def markdown_chunks(conversations: Iterable[Conversation], link: Link) -> Iterator[str]:
    """Yield Markdown piece by piece; a conversation by itself has front matter (YAML)."""
    found = list(conversations)
    for number, conversation in enumerate(found):
        if len(found) == 1:
            yield _front_matter(conversation)
        yield ("\n---\n\n" if number else "") + f"# {_escaped(title_of(conversation))}\n"
        if len(found) > 1:
            yield f"\n{date_of(conversation.created)} · `{visible_line(conversation.uid)}`\n"
        if conversation.system and (len(found) > 1 or "\n" in conversation.system):
            yield f"\n## System\n\n{_literal(conversation.system)}\n"
        for entry in conversation.path():
            yield from _entry(entry, link)


def _front_matter(conversation: Conversation) -> str:
    rows = [("title", title_of(conversation)), ("uid", conversation.uid)]
    rows += [
        (name, date)
        for name, date in (
            ("created", date_of(conversation.created)),
            ("updated", date_of(conversation.updated)),
        )
        if date
    ]
    if conversation.system:
        rows.append(("system", conversation.system))
    # A JSON string is a YAML string, as long as no surrogates are escaped in it.
    lines = [f"{name}: {json.dumps(visible(value), ensure_ascii=False)}" for name, value in rows]
    return "\n".join(["---", *lines, "---", "", ""])


def _entry(entry: Entry, link: Link) -> Iterator[str]:
    yield f"\n## {_escaped(speaker_of(entry))}\n"
    spoken = _reply if entry.message.role == "assistant" else _literal
    for part in entry.message.parts:
        if isinstance(part, TextPart):
            yield f"\n{spoken(part.text)}\n" if part.text.strip() else ""
        else:
            yield _medium(part, link)
    remarks = remarks_of(entry)
    if remarks:
        yield f"\n*({', '.join(remarks)})*\n"


def _medium(part: Attachment, link: Link) -> str:
    """Return a picture, or a link to a video, with what of it was meant."""
    url = link(part.media)
    target = url if url.startswith("data:") else quote(url)
    name = _escaped(visible_line(part.media.name))
    if isinstance(part, VideoPart):
        return f"\n[Video: {name}]({target})\n\n*({frames_line(part)})*\n"
    region = f"\n*({region_line(part.region)})*\n" if part.region is not None else ""
    return f"\n![{name}]({target})\n{region}"


def _escaped(text: str) -> str:
    """Return a line of text so that Markdown shows it as it is, and not as a list."""
    return _LINE_START.sub(r"\1\\\2", _SPECIAL.sub(lambda found: f"\\{found.group()}", text))


def _literal(text: str) -> str:
    """Return what a person typed, to be seen as it was typed."""
    lines = visible(text).strip("\n").split("\n")
    plain = all(not line.startswith((" ", "\t")) for line in lines)
    if plain and (len(lines) == 1 or not any(_SPECIAL.search(line) for line in lines)):
        rows = [_escaped(line) for line in lines]
        # A backslash at the end keeps the line break within a paragraph.
        return "\n".join(
            row + ("\\" if row.strip() and following.strip() else "")
            for row, following in zip(rows, [*rows[1:], ""], strict=True)
        )
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([f"{fence}text", *lines, fence])


def _reply(text: str) -> str:
    """Return a model's Markdown so that it cannot disturb what is around it.

    Fences left open are closed; tags are shown, not obeyed.
    """
    lines: list[str] = []
    open_fence = ""
    for line in visible(text).strip("\n").split("\n"):
        fence = _FENCE.match(line)
        if open_fence:
            mark = line.strip()
            if fence and mark == mark[0] * len(mark) and mark.startswith(open_fence):
                open_fence = ""
            lines.append(line)
        elif fence and not (fence.group(1)[0] == "`" and "`" in fence.group(2)):
            open_fence = fence.group(1)
            lines.append(line)
        else:
            lines.append(_tags_shown(line))
    if open_fence:
        lines.append(open_fence)
    return "\n".join(lines)


def _tags_shown(line: str) -> str:
    pieces: list[str] = []
    at = 0
    for code in _CODE_SPAN.finditer(line):
        pieces += [_TAG.sub(r"\\<", line[at : code.start()]), code.group()]
        at = code.end()
    return "".join([*pieces, _TAG.sub(r"\\<", line[at:])])

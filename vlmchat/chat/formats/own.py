"""Our own formats, which lose nothing: JSON, and JSONL in the chat format of the SmolVLM course.

JSON: ``{"format": "vlmchat", "version": 1, "conversations": […], "media": {SHA-256: …}}``. Every
entry of the tree is listed, parents first; each medium is there once.

JSONL: one conversation a line, ``{"messages": […], "vlmchat": {…}}``. ``messages`` is the path the
conversation was left at, for any program to read; ``vlmchat`` has the rest. What is said on the
path stands in ``messages`` alone, and entries refer to it by number (``at``).
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeAlias, cast, get_args

from vlmchat.chat.conversation import (
    Author,
    Conversation,
    Entry,
    Label,
    LabelKind,
    Provenance,
    State,
)
from vlmchat.chat.formats.parts import (
    clip_row,
    content_of,
    lasting,
    message_of,
    parts_of,
    region_of,
    times_of,
)
from vlmchat.chat.formats.sources import Sources
from vlmchat.chat.formats.values import (
    BadRow,
    Link,
    count_of,
    dict_of,
    free_of,
    list_of,
    number_of,
    short,
    sound,
    text_of,
)
from vlmchat.chat.messages import (
    ImagePart,
    Media,
    Message,
    Part,
    Role,
    TextPart,
    VideoPart,
    parse_detail,
)
from vlmchat.errors import UsageError

VERSION = 1
_Json: TypeAlias = dict[str, Any]
_COUNTS = ("prompt_tokens", "completion_tokens", "cached_tokens")


def dumps(value: object) -> str:
    r"""Return `value` as one line of JSON that is UTF-8 and that every program sees as one line.

    Line separators that some programs split at (U+0085, U+2028, U+2029) are escaped.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    for char in "\x85\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return sound(text)


# Writing ---------------------------------------------------------------------------------------


def about(conversation: Conversation) -> _Json:
    """Return what is said about a conversation, without its entries."""
    row = {
        name: getattr(conversation, name)
        for name in ("uid", "title", "created", "updated", "pinned", "archived", "tip")
    }
    return row | {"system": conversation.system}


def _about_entry(entry: Entry) -> _Json:
    row: _Json = {name: getattr(entry, name) for name in ("uid", "parent", "author", "state")}
    row["created"] = entry.created
    if entry.provenance is not None:
        row["provenance"] = provenance_row(entry.provenance)
    if entry.labels:
        row["labels"] = [
            {"kind": label.kind, "other": label.other, "created": label.created}
            for label in entry.labels
        ]
    return row


def provenance_row(made: Provenance) -> _Json:
    """Return what produced a reply as a JSON object."""
    return {
        "engine": dict(made.engine),
        "sampling": dict(made.sampling),
        "system": made.system,
        "finish_reason": made.finish_reason,
        **{name: getattr(made, name) for name in _COUNTS},
        "timings": dict(made.timings),
    }


def record(conversation: Conversation) -> _Json:
    """Return a conversation as our JSON has it; media are named by their SHA-256."""
    entries = [
        _about_entry(entry)
        | {"role": entry.message.role, "parts": [_part_row(part) for part in entry.message.parts]}
        for entry in conversation.entries
    ]
    return about(conversation) | {"entries": entries}


def _part_row(part: Part) -> _Json:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    media = part.media
    if isinstance(part, VideoPart):
        named = {"type": "video", "media": media.sha256, "name": media.name}
        return named | clip_row(part.clip)
    return {
        "type": "image",
        "media": media.sha256,
        "name": media.name,
        "detail": part.detail,
        **({} if part.region is None else {"region": list(part.region.edges)}),
    }


def media_row(media: Media) -> _Json:
    """Return what is known of a picture or a video."""
    return {name: getattr(media, name) for name in ("mime", "width", "height", "size")}


def json_chunks(conversations: Iterable[Conversation], link: Link) -> Iterator[str]:
    """Yield our JSON piece by piece: one medium at a time is in memory."""
    found: dict[str, Media] = {}
    yield f'{{"format": "vlmchat", "version": {VERSION},\n"conversations": [\n'
    for number, conversation in enumerate(conversations):
        yield (",\n" if number else "") + dumps(record(conversation))
        for entry in conversation.entries:
            found.update((media.sha256, media) for media in entry.message.media)
    yield '\n],\n"media": {\n'
    for number, (digest, media) in enumerate(found.items()):
        url = link(media)
        row = media_row(media) | {"data" if url.startswith("data:") else "path": url}
        yield (",\n" if number else "") + f"{dumps(digest)}: {dumps(row)}"
    yield "\n}}\n"


def jsonl_row(conversation: Conversation, link: Link) -> str:
    """Return one line of our JSONL."""
    messages: list[_Json] = []
    rest = about(conversation)
    system = rest.pop("system")
    if system:
        messages.append({"role": "system", "content": [{"type": "text", "text": system}]})
    rest["system_at"] = 0 if system else None
    places: dict[str, int] = {}
    for entry in conversation.path():
        places[entry.uid] = len(messages)
        messages.append(message_row(entry.message, link))
    rest["entries"] = [
        _about_entry(entry)
        | (
            {"at": places[entry.uid]}
            if entry.uid in places
            else {"message": message_row(entry.message, link)}
        )
        for entry in conversation.entries
    ]
    return dumps({"messages": messages, "vlmchat": {"version": VERSION} | rest}) + "\n"


def message_row(message: Message, link: Link) -> _Json:
    """Return a message in the chat format of the course."""
    return {"role": message.role, "content": content_of(message, link)}


# Reading ---------------------------------------------------------------------------------------


class MediaTable:
    """The media of a JSON file of ours, made when an entry refers to them."""

    def __init__(self, rows: _Json, sources: Sources) -> None:
        self._rows = rows
        self._sources = sources
        self._made: dict[str, Media] = {}

    def get(self, digest: str, name: str) -> Media:
        """Return the picture with that SHA-256 under the name it was attached by."""
        if digest not in self._made:
            url = self._url(digest, "picture")
            self._made[digest] = _unchanged(self._sources.get(url, name), digest, "picture")
        return replace(self._made[digest], name=name)

    def video(self, digest: str, name: str, times: tuple[float, ...] | None) -> VideoPart:
        """Return the video with that SHA-256; without times its frames are chosen anew."""
        part = self._sources.video(self._url(digest, "video"), name, times)
        _unchanged(part.media, digest, "video")
        return part

    def _url(self, digest: str, what: str) -> str:
        row = dict_of(self._rows.get(digest), f"The {what} {short(digest)} under “media”")
        url = row.get("data", row.get("path"))
        if not isinstance(url, str):
            raise BadRow(f"The {what} {short(digest)} has neither “data” nor “path”.")
        return url


def _unchanged(media: Media, digest: str, what: str) -> Media:
    if media.sha256 != digest:
        raise BadRow(f"The {what} {short(digest)} is not what it was: it was changed.")
    return media


def check_version(row: Mapping[str, Any]) -> None:
    """Refuse what a newer vlmchat wrote."""
    version = row.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise BadRow(
            f"It was written by a newer vlmchat (version {short(version)}, this one knows "
            f"{VERSION}): update vlmchat."
        )


def from_record(row: _Json, media: MediaTable) -> Conversation:
    """Return the conversation in an object of our JSON."""

    def message(item: _Json) -> Message:
        parts = [_part(dict_of(part, "A part"), media) for part in list_of(item["parts"], "parts")]
        return Message(_one_of(item, "role", get_args(Role)), tuple(parts))

    found = [dict_of(item, "An entry") for item in list_of(row.get("entries"), "“entries”")]
    if any("parts" not in item for item in found):
        raise BadRow("An entry has no “parts”.")
    return _conversation(row, text_of(row, "system", ""), [(x, message(x)) for x in found])


def _part(row: _Json, media: MediaTable) -> Part:
    kind = row.get("type")
    if kind == "text":
        return TextPart(text_of(row, "text"))
    if kind == "image":
        try:
            detail = parse_detail(row.get("detail"))
        except UsageError as error:
            raise BadRow(str(error)) from None
        picture = media.get(text_of(row, "media"), text_of(row, "name"))
        edges = row.get("region")  # absent in what older versions wrote, and for whole pictures
        return ImagePart(picture, detail, None if edges is None else region_of(edges, picture))
    if kind == "video":
        named = text_of(row, "media"), text_of(row, "name")
        return lasting(media.video(*named, times_of(row)), row)
    raise BadRow(f"A part of the type “{short(kind)}” is not supported.")


def from_jsonl(row: _Json, sources: Sources) -> Conversation:
    """Return the conversation in a line of our JSONL."""
    rest = dict_of(row["vlmchat"], "“vlmchat”")
    check_version(rest)
    messages = list_of(row.get("messages"), "“messages”")

    def said(at: object) -> _Json:
        if isinstance(at, bool) or not isinstance(at, int) or not 0 <= at < len(messages):
            raise BadRow(f"Message number {short(at)} is referred to, and is not there.")
        return dict_of(messages[at], f"Message {at + 1}")

    system = ""
    if rest.get("system_at") is not None:
        parts = parts_of(said(rest["system_at"]).get("content"), sources)
        system = "\n\n".join(part.text for part in parts if isinstance(part, TextPart))
    found = [dict_of(item, "An entry") for item in list_of(rest.get("entries"), "“entries”")]
    entries = [
        (item, message_of(said(item["at"]) if "at" in item else item.get("message"), sources))
        for item in found
    ]
    return _conversation(rest, system, entries)


def _conversation(row: _Json, system: str, found: list[tuple[_Json, Message]]) -> Conversation:
    entries: list[Entry] = []
    seen: set[str] = set()
    for item, message in found:
        entry = _entry(item, message)
        if not entry.uid or entry.uid in seen:
            raise BadRow(f"The uid “{short(entry.uid)}” is empty or there twice.")
        if entry.parent is not None and entry.parent not in seen:
            raise BadRow(f"The entry “{short(entry.uid)}” comes before its parent or has none.")
        seen.add(entry.uid)
        entries.append(entry)
    for entry in entries:
        for label in entry.labels:
            if (label.other == "") != (label.kind in ("good", "bad")) or (
                label.other and label.other not in seen
            ):
                raise BadRow(f"A label of “{short(entry.uid)}” compares it with nothing there.")
    tip = row.get("tip")
    if tip is not None and tip not in seen:
        raise BadRow("“tip” names no entry.")
    flags = [row.get(name, False) for name in ("pinned", "archived")]
    if not all(isinstance(flag, bool) for flag in flags):
        raise BadRow("“pinned” or “archived” is neither true nor false.")
    uid = text_of(row, "uid")
    if not uid:
        raise BadRow("“uid” is empty.")
    return Conversation(
        uid,
        text_of(row, "title", ""),
        system,
        number_of(row, "created"),
        number_of(row, "updated"),
        pinned=row.get("pinned", False),
        archived=row.get("archived", False),
        tip=tip,
        entries=tuple(entries),
    )


def _entry(row: _Json, message: Message) -> Entry:
    parent = row.get("parent")
    if parent is not None and not isinstance(parent, str):
        raise BadRow("“parent” is not a text.")
    made = row.get("provenance")
    labels = [dict_of(label, "A label") for label in list_of(row.get("labels", []), "“labels”")]
    return Entry(
        text_of(row, "uid"),
        parent,
        message,
        cast("Author", _one_of(row, "author", get_args(Author))),
        cast("State", _one_of(row, "state", get_args(State))),
        number_of(row, "created"),
        _provenance(dict_of(made, "“provenance”")) if made is not None else None,
        tuple(
            Label(
                cast("LabelKind", _one_of(label, "kind", get_args(LabelKind))),
                text_of(label, "other", ""),
                number_of(label, "created"),
            )
            for label in labels
        ),
    )


def _provenance(row: _Json) -> Provenance:
    reason = row.get("finish_reason")
    if reason is not None and not isinstance(reason, str):
        raise BadRow("“finish_reason” is not a text.")
    engine, sampling, timings = (free_of(row, key) for key in ("engine", "sampling", "timings"))
    prompt, completion, cached = (count_of(row, name) for name in _COUNTS)
    system = text_of(row, "system", "")
    return Provenance(engine, sampling, system, reason, prompt, completion, cached, timings)


def _one_of(row: Mapping[str, Any], key: str, allowed: tuple[str, ...]) -> Any:  # noqa: ANN401
    value = row.get(key)
    if value not in allowed:
        raise BadRow(f"“{key}” is “{short(value)}”, not one of {', '.join(allowed)}.")
    return value

"""The one form that prepared examples have in a job folder, whatever they came from.

A line of ``train.jsonl`` or ``validation.jsonl`` is one `Example`; its media lie in ``media/``
under their SHA-256, and pictures are checked against it whenever they are read.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, cast, get_args

from vlmchat.chat.formats.parts import clip_row
from vlmchat.chat.formats.values import BadRow, dict_of, list_of, number_of, short, text_of
from vlmchat.chat.messages import (
    Clip,
    ImagePart,
    Media,
    Message,
    Part,
    Region,
    Role,
    TextPart,
    VideoPart,
    parse_detail,
)
from vlmchat.errors import MediaError, UsageError
from vlmchat.finetune.examples import Example, ExampleKind, Source

_Json: TypeAlias = dict[str, Any]
# Where a medium lies, relative to the job folder.
Place: TypeAlias = Callable[[Media], str]
_MEDIA = ("sha256", "name", "mime", "width", "height", "size")


def to_row(example: Example, place: Place) -> _Json:
    """Return an example as a JSON object."""
    row: _Json = {
        "kind": example.kind,
        "group": example.group,
        "source": asdict(example.source),
        "messages": [_message_row(message, place) for message in example.messages],
    }
    if example.kind == "sft":
        return row | {"trained": list(example.trained)}
    if example.kind == "kto":
        completion = [_message_row(message, place) for message in example.completion]
        return row | {"completion": completion, "label": example.label}
    return row | {
        "chosen": [_message_row(message, place) for message in example.chosen],
        "rejected": [_message_row(message, place) for message in example.rejected],
    }


def _message_row(message: Message, place: Place) -> _Json:
    return {"role": message.role, "content": [_part_row(part, place) for part in message.parts]}


def _part_row(part: Part, place: Place) -> _Json:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    about = {name: getattr(part.media, name) for name in _MEDIA} | {"path": place(part.media)}
    if isinstance(part, VideoPart):
        return {"type": "video", **about, **clip_row(part.clip)}
    region = {} if part.region is None else {"region": list(part.region.edges)}
    return {"type": "image", **about, "detail": part.detail, **region}


def from_row(value: object, folder: Path) -> Example:
    """Return the example in a JSON object; its media are read when they are asked for.

    Args:
        value: of `to_row`.
        folder: that the paths of media are relative to.

    Raises:
        BadRow: it is none.
    """
    row = dict_of(value, "The row")
    kind = row.get("kind")
    if kind not in get_args(ExampleKind):
        raise BadRow(f"“kind” is {short(str(kind))}.")
    label = row.get("label")
    if (kind == "kto") != isinstance(label, bool):
        raise BadRow("“label” is true or false for a row of KTO, and for no other.")
    messages = _messages(row, "messages", folder)
    trained = tuple(list_of(row.get("trained", []), "“trained”"))
    if not all(isinstance(at, int) and 0 <= at < len(messages) for at in trained):
        raise BadRow("“trained” names messages that are not there.")
    try:
        source = Source(**dict_of(row.get("source"), "“source”"))
    except TypeError:
        raise BadRow("“source” is malformed.") from None
    return Example(
        cast("ExampleKind", kind),
        messages,
        source,
        text_of(row, "group"),
        trained,
        _messages(row, "chosen", folder),
        _messages(row, "rejected", folder),
        _messages(row, "completion", folder),
        label,
    )


def _messages(row: _Json, key: str, folder: Path) -> tuple[Message, ...]:
    found: list[Message] = []
    for item in list_of(row.get(key, []), f"“{key}”"):
        turn = dict_of(item, "A message")
        role = turn.get("role")
        if role not in get_args(Role):
            raise BadRow(f"The role “{short(role)}” is not known.")
        content = [dict_of(one, "A part") for one in list_of(turn.get("content"), "“content”")]
        found.append(
            Message(
                cast("Role", role), tuple(_part(dict_of(one, "A part"), folder) for one in content)
            )
        )
    return tuple(found)


def _part(row: _Json, folder: Path) -> Part:
    if row.get("type") == "text":
        return TextPart(text_of(row, "text"))
    media = _media(row, folder)
    try:
        if row.get("type") == "video":
            times = list_of(row.get("times"), "“times”")
            length = None if row.get("duration") is None else number_of(row, "duration")
            return VideoPart(media, Clip(tuple(float(time) for time in times), length))
        region = None if row.get("region") is None else Region.parse(row["region"])
        return ImagePart(media, parse_detail(row.get("detail")), region)
    except (UsageError, TypeError, ValueError) as error:
        raise BadRow(f"A picture or video is malformed: {error}") from None


def _media(row: _Json, folder: Path) -> Media:
    digest, name, mime, reference = (
        text_of(row, key) for key in ("sha256", "name", "mime", "path")
    )
    path = (folder / reference).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise BadRow(f"“{short(reference)}” lies outside the job's folder.")
    sizes = [row.get(key) for key in ("width", "height", "size")]
    if not all(isinstance(size, int) and size >= 0 for size in sizes):
        raise BadRow("A picture's size is malformed.")
    width, height, size = sizes
    assert isinstance(width, int) and isinstance(height, int) and isinstance(size, int)
    read = partial(read_checked, path, digest)
    file = path if row.get("type") == "video" else None
    return Media(digest, name, mime, width, height, size, read, file)


def read_checked(path: Path, digest: str) -> bytes:
    """Return the bytes of a file that has this SHA-256.

    Raises:
        MediaError: it cannot be read, or was changed.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise MediaError(
            f"“{short(path)}” cannot be read ({error.strerror}): prepare the job again."
        ) from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise MediaError(f"“{short(path)}” was changed: prepare the job again.")
    return data


def data_hash(examples: Iterable[Example]) -> str:
    """Return one SHA-256 for what examples teach, in any order."""
    digests = "\n".join(sorted(example.digest for example in examples))
    return hashlib.sha256(digests.encode()).hexdigest()

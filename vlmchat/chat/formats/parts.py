"""Messages with typed parts, as the SmolVLM course, OpenAI and TRL write them."""

from collections.abc import Iterator
from typing import Any

from vlmchat.chat.formats.sources import Pictures
from vlmchat.chat.formats.values import BadRow, Link, dict_of, role_of, short
from vlmchat.chat.messages import (
    Detail,
    ImagePart,
    Media,
    Message,
    Part,
    Region,
    TextPart,
    VideoPart,
    parse_detail,
)
from vlmchat.errors import UsageError


def content_of(message: Message, link: Link) -> list[dict[str, Any]]:
    """Return the parts of a message; a picture is a ``path``, or embedded under ``image``."""
    rows: list[dict[str, Any]] = []
    for part in message.parts:
        if isinstance(part, TextPart):
            rows.append({"type": "text", "text": part.text})
            continue
        url = link(part.media)
        if isinstance(part, VideoPart):
            key = "video" if url.startswith("data:") else "path"
            times = {"times": list(part.clip.times), "duration": part.clip.duration}
            rows.append({"type": "video", key: url, "name": part.media.name, **times})
            continue
        key = "image" if url.startswith("data:") else "path"
        row = {"type": "image", key: url, "name": part.media.name, "detail": part.detail}
        rows.append(row | ({} if part.region is None else {"region": list(part.region.edges)}))
    return rows


def message_of(
    value: object, pictures: Pictures, waiting: Iterator[object] | None = None
) -> Message:
    """Return the message in an object with ``role`` and ``content``.

    Args:
        value: the object.
        pictures: reads what the parts refer to.
        waiting: the row's own list of pictures, taken in turn by parts that name none.

    Raises:
        BadRow: it is none, or has what is not supported.
        MediaError: a picture is none.
    """
    row = dict_of(value, "A message")
    role = role_of(row.get("role"))
    if row.get("tool_calls") or row.get("function_call"):
        raise BadRow("A message calls a tool, which is not supported.")
    return Message(role, parts_of(row.get("content"), pictures, waiting))


def parts_of(
    content: object, pictures: Pictures, waiting: Iterator[object] | None = None
) -> tuple[Part, ...]:
    """Return the parts in a message's ``content``: a text, or a list of typed parts."""
    if isinstance(content, str):
        return (TextPart(content),)
    if not isinstance(content, list):
        raise BadRow("A message's “content” is missing, or neither a text nor a list.")
    return tuple(_part(item, pictures, waiting) for item in content)


def _part(item: object, pictures: Pictures, waiting: Iterator[object] | None) -> Part:
    if isinstance(item, str):
        return TextPart(item)
    row = dict_of(item, "A part of a message")
    kind = row.get("type")
    if kind in ("text", "input_text", "output_text"):
        text = row.get("text")
        if not isinstance(text, str):
            raise BadRow("A text part has no “text”.")
        return TextPart(text)
    if kind in ("image", "image_url", "input_image"):
        return _image(row, pictures, waiting)
    if kind in ("video", "video_url"):
        raise BadRow("It has a video, and videos are not supported yet.")
    raise BadRow(f"A part of the type “{short(kind)}” is not supported.")


def _image(row: dict[str, Any], pictures: Pictures, waiting: Iterator[object] | None) -> ImagePart:
    inner = row.get("image_url")
    found: object = inner
    detail = row.get("detail")
    if isinstance(inner, dict):
        found, detail = inner.get("url"), inner.get("detail", detail)
    for key in ("image", "path", "url"):
        found = found if found is not None else row.get(key)
    if found is None:
        found = next(waiting, None) if waiting is not None else None
    if found is None:
        raise BadRow("A picture has neither a path nor its data, and “images” has none for it.")
    name = row.get("name")
    media = picture_of(found, pictures, name if isinstance(name, str) else None)
    try:
        known: Detail = parse_detail(detail)
    except UsageError:  # other programs have levels of their own
        known = "auto"
    edges = row.get("region")
    return ImagePart(media, known, None if edges is None else region_of(edges, media))


def region_of(value: object, media: Media) -> Region:
    """Return the region of `media` that a row names.

    Raises:
        BadRow: it is none, or reaches beyond the picture.
    """
    try:
        region = Region.parse(value)
        region.check(media.width, media.height)
    except UsageError as error:
        raise BadRow(str(error)) from None
    return region


def picture_of(value: object, pictures: Pictures, name: str | None = None) -> Media:
    """Return the picture that a row refers to: a text, or an object with ``path`` or ``url``."""
    if isinstance(value, dict):
        value = next((value[key] for key in ("path", "url") if value.get(key)), None)
    if not isinstance(value, str):
        raise BadRow("A picture is given neither by a path nor by a URL.")
    return pictures.get(value, name)

"""Messages with typed parts, as the SmolVLM course, OpenAI and TRL write them."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Literal

from vlmchat.chat.formats.sources import Sources
from vlmchat.chat.formats.values import BadRow, Link, dict_of, list_of, number_of, role_of, short
from vlmchat.chat.messages import (
    Clip,
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

Kind = Literal["image", "video"]


class Waiting:
    """The media that stand beside a row's messages and that no part has taken yet.

    Args:
        images: what the row says of its pictures, in order.
        videos: the same of its videos.
    """

    def __init__(self, images: Iterable[object] = (), videos: Iterable[object] = ()) -> None:
        self.left: dict[Kind, list[object]] = {"image": list(images), "video": list(videos)}

    def take(self, kind: Kind) -> object:
        """Return the next one, or ``None``."""
        return self.left[kind].pop(0) if self.left[kind] else None


def content_of(message: Message, link: Link) -> list[dict[str, Any]]:
    """Return the parts of a message.

    A picture or a video is a ``path``, or embedded under ``image`` or ``video``.
    """
    rows: list[dict[str, Any]] = []
    for part in message.parts:
        if isinstance(part, TextPart):
            rows.append({"type": "text", "text": part.text})
            continue
        if isinstance(part, VideoPart):
            rows.append(video_row(part, link))
            continue
        url = link(part.media)
        key = "image" if url.startswith("data:") else "path"
        row = {"type": "image", key: url, "name": part.media.name, "detail": part.detail}
        rows.append(row | ({} if part.region is None else {"region": list(part.region.edges)}))
    return rows


def video_row(part: VideoPart, link: Link) -> dict[str, Any]:
    """Return a video with the times of its frames, in seconds, and its length."""
    url = link(part.media)
    key = "video" if url.startswith("data:") else "path"
    return {"type": "video", key: url, "name": part.media.name, **clip_row(part.clip)}


def clip_row(clip: Clip) -> dict[str, Any]:
    """Return which frames of a video the model gets."""
    return {"times": list(clip.times), "duration": clip.duration}


def message_of(value: object, sources: Sources, waiting: Waiting | None = None) -> Message:
    """Return the message in an object with ``role`` and ``content``.

    Args:
        value: the object.
        sources: reads what the parts refer to.
        waiting: the row's own lists of media, taken in turn by parts that name none.

    Raises:
        BadRow: it is none, or has what is not supported.
        MediaError: a picture or a video is none.
    """
    row = dict_of(value, "A message")
    role = role_of(row.get("role"))
    if row.get("tool_calls") or row.get("function_call"):
        raise BadRow("A message calls a tool, which is not supported.")
    return Message(role, parts_of(row.get("content"), sources, waiting))


def parts_of(content: object, sources: Sources, waiting: Waiting | None = None) -> tuple[Part, ...]:
    """Return the parts in a message's ``content``: a text, or a list of typed parts."""
    if isinstance(content, str):
        return (TextPart(content),)
    if not isinstance(content, list):
        raise BadRow("A message's “content” is missing, or neither a text nor a list.")
    return tuple(_part(item, sources, waiting) for item in content)


def _part(item: object, sources: Sources, waiting: Waiting | None) -> Part:
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
        return _image(row, sources, waiting)
    if kind in ("video", "video_url", "input_video"):
        return _video(row, sources, waiting)
    raise BadRow(f"A part of the type “{short(kind)}” is not supported.")


def _image(row: dict[str, Any], sources: Sources, waiting: Waiting | None) -> ImagePart:
    inner = row.get("image_url")
    found: object = inner
    detail = row.get("detail")
    if isinstance(inner, dict):
        found, detail = inner.get("url"), inner.get("detail", detail)
    for key in ("image", "path", "url"):
        found = found if found is not None else row.get(key)
    if found is None:
        found = waiting.take("image") if waiting is not None else None
    if found is None:
        raise BadRow("A picture has neither a path nor its data, and “images” has none for it.")
    name = row.get("name")
    media = picture_of(found, sources, name if isinstance(name, str) else None)
    try:
        known: Detail = parse_detail(detail)
    except UsageError:  # other programs have levels of their own
        known = "auto"
    edges = row.get("region")
    return ImagePart(media, known, None if edges is None else region_of(edges, media))


def _video(row: dict[str, Any], sources: Sources, waiting: Waiting | None) -> VideoPart:
    keys = ("video_url", "video", "path", "url")
    found: object = next((row[key] for key in keys if row.get(key) is not None), None)
    if found is None:
        found = waiting.take("video") if waiting is not None else None
    if found is None:
        raise BadRow("A video has neither a path nor its data, and “videos” has none for it.")
    return video_of(found, sources, row)


def video_of(value: object, sources: Sources, about: dict[str, Any] | None = None) -> VideoPart:
    """Return the video that a row refers to.

    Args:
        value: a text, or an object with ``path`` or ``url``.
        sources: opens it.
        about: an object with ``name``, ``times`` and ``duration``, each of which may be missing.

    Raises:
        BadRow: the row is malformed.
        MediaError: it is no video.
    """
    row = about or {}
    if isinstance(value, dict):
        value = next((value[key] for key in ("path", "url") if value.get(key)), None)
    if isinstance(value, list):
        raise BadRow("A video is given as a list of pictures: name its file instead.")
    if not isinstance(value, str):
        raise BadRow("A video is given neither by a path nor by a URL.")
    name = row.get("name")
    part = sources.video(value, name if isinstance(name, str) else None, times_of(row))
    return lasting(part, row)


def times_of(row: dict[str, Any]) -> tuple[float, ...] | None:
    """Return the times of the frames that a row names, if it names any."""
    if row.get("times") is None:
        return None
    return tuple(number_of({"times": item}, "times") for item in list_of(row["times"], "“times”"))


def lasting(part: VideoPart, row: dict[str, Any]) -> VideoPart:
    """Return `part` as long as the row says, if it says how long."""
    if "duration" not in row:
        return part
    length = None if row["duration"] is None else number_of(row, "duration")
    try:
        return replace(part, clip=Clip(part.clip.times, length))
    except UsageError as error:
        raise BadRow(str(error)) from None


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


def picture_of(value: object, sources: Sources, name: str | None = None) -> Media:
    """Return the picture that a row refers to: a text, or an object with ``path`` or ``url``."""
    if isinstance(value, dict):
        value = next((value[key] for key in ("path", "url") if value.get(key)), None)
    if not isinstance(value, str):
        raise BadRow("A picture is given neither by a path nor by a URL.")
    return sources.get(value, name)

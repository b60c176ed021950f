"""Messages in the form of OpenAI's chat-completions API.

Source: the API reference of ``POST /v1/chat/completions``; content parts ``text`` and
``image_url`` with ``detail``.
"""

import base64
from collections.abc import Iterable
from typing import Any

from vlmchat.chat.messages import ImagePart, Message, Part, TextPart


def data_url(mime: str, data: bytes) -> str:
    """Return `data` as an RFC 2397 ``data:`` URL in base64."""
    return f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}"


def _part(part: Part) -> dict[str, Any]:
    if isinstance(part, ImagePart):
        # No engine but this program's own chat knows regions: see `vlmchat.media.sending`.
        assert part.region is None, "send the part of the picture itself"
        url = data_url(part.media.mime, part.media.data)
        return {"type": "image_url", "image_url": {"url": url, "detail": str(part.detail)}}
    assert isinstance(part, TextPart), "send a video's frames: see `vlmchat.media.sending`"
    return {"type": "text", "text": part.text}


def to_openai(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Return the ``messages`` array for `messages`; turns without pictures have string content."""
    rows: list[dict[str, Any]] = []
    for message in messages:
        content: str | list[dict[str, Any]] = (
            [_part(part) for part in message.parts] if message.media else message.text
        )
        rows.append({"role": message.role, "content": content})
    return rows

"""Server-sent events as chat-completions engines send them.

Source: the event-stream format of the HTML standard, section 9.2. Lines end at LF or CRLF only:
a general line splitter would also cut JSON strings at U+2028 and the like.
"""

import json
from collections.abc import AsyncIterator
from typing import Any

from vlmchat.errors import EngineError
from vlmchat.text import visible_line

_LONGEST_LINE = 32 * 1024 * 1024


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    rest = b""
    async for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.removesuffix(b"\r")
        if len(rest) > _LONGEST_LINE:
            raise EngineError("The engine sent a line that never ends: check the address.")
    if rest:
        yield rest.removesuffix(b"\r")


async def json_events(chunks: AsyncIterator[bytes]) -> AsyncIterator[Any]:
    """Yield the JSON value of each event in `chunks`; ``None`` for the closing ``[DONE]``.

    Raises:
        EngineError: an event's data is not JSON.
    """
    data: list[bytes] = []
    async for line in _lines(chunks):
        if line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
        elif not line and data:
            yield _value(b"\n".join(data))
            data = []
    if data:
        yield _value(b"\n".join(data))


def _value(data: bytes) -> Any:  # noqa: ANN401 - JSON may be anything
    if data.strip() == b"[DONE]":
        return None
    try:
        return json.loads(data)
    except ValueError:
        excerpt = visible_line(data[:80].decode("utf-8", "replace"))
        raise EngineError(
            f"The engine sent something that is not JSON (“{excerpt}”): check the address."
        ) from None

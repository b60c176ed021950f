"""Asks an engine for the places of sentences and pictures in the space of an embedding model."""

import asyncio
from collections.abc import Sequence
from typing import Any

from vlmchat.chat.messages import ImagePart, Message, TextPart
from vlmchat.chat.openai import to_openai
from vlmchat.client.api import EngineClient
from vlmchat.errors import EngineError, NotOurEngineError

_WHAT = "compare pictures with sentences by an embedding model"


async def embeddings(
    client: EngineClient, parts: Sequence[TextPart | ImagePart]
) -> list[list[float]]:
    """Return the place of each sentence and picture (``POST /v1/embeddings``): length 1.

    Pictures are content parts among the ``input``, which other engines do not know.

    Raises:
        NotOurEngineError: the engine has no embedding model.
        UsageError: it refused the request, in its own words.
        EngineError: unreachable, broken off, or not the protocol.
    """
    items = await asyncio.to_thread(lambda: [_item(part) for part in parts])
    try:
        answer = await client._own_route("embeddings", {"input": items}, _WHAT)
    except NotOurEngineError:
        raise NotOurEngineError(
            "This engine was started without an embedding model, or is not vlmchat's own: it "
            f"cannot {_WHAT}."
        ) from None
    try:
        return [[float(value) for value in row["embedding"]] for row in answer["data"]]
    except (ValueError, KeyError, TypeError):
        raise EngineError(f"The engine cannot {_WHAT}: its answer holds no embeddings.") from None


def _item(part: TextPart | ImagePart) -> Any:  # noqa: ANN401 - a text or an object
    content = to_openai([Message("user", (part,))])[0]["content"]
    return content[0] if isinstance(content, list) else content

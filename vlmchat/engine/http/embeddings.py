"""``POST /v1/embeddings``: sentences and pictures in one space, where an embedding model is."""

import asyncio
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from vlmchat.engine.cancelled import CancelledError
from vlmchat.engine.http.body import read_json
from vlmchat.engine.http.errors import error
from vlmchat.engine.http.leaving import stopped_on_leaving
from vlmchat.engine.http.served import Served

if TYPE_CHECKING:
    from vlmchat.engine.caching.caches import Caches


async def embeddings(served: Served, request: Request) -> Response:
    """Answer ``POST /v1/embeddings``; pictures are content parts among the ``input``.

    Raises:
        VlmchatError: the request cannot be answered.
        CancelledError: whoever asked hung up.
    """
    from vlmchat.engine.requests import EmbeddingRequest, parse

    folder = served.embedder
    if folder is None:
        return error(404, "This engine was started without an embedding model.", "not_supported")
    loaded = served.service.require()
    asked = parse(EmbeddingRequest, await read_json(request))
    async with stopped_on_leaving(request) as cancel:
        parts = await asyncio.to_thread(asked.parts, served.resolver())

        def check() -> None:
            if cancel.is_set():
                raise CancelledError

        def work(caches: "Caches") -> list[list[float]]:
            from vlmchat.engine.embedding import Embedder

            if served.embedding is None:
                served.embedding = Embedder(folder)
            places: list[list[float]] = served.embedding.places(parts, caches.features, check)
            return places

        found = await served.service.compute(loaded, work, cancel)
    rows = [
        {"object": "embedding", "index": index, "embedding": place}
        for index, place in enumerate(found)
    ]
    return JSONResponse({"object": "list", "model": folder.name, "data": rows})

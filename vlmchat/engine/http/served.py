"""What the handlers of all routes share."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from starlette.requests import Request
from starlette.responses import Response

from vlmchat.engine.http.limits import Limits
from vlmchat.engine.http.line import Line
from vlmchat.engine.http.metrics import Counts
from vlmchat.engine.media_urls import KnownUrls, MediaResolver
from vlmchat.engine.service import EngineService
from vlmchat.media.rules import rules


@dataclass(slots=True)
class Served:
    """One engine, as those see it who answer its requests.

    Attributes:
        service: the engine's state and its model.
        media_roots: folders that ``file:`` URLs may name.
        limits: what clients may take.
        has_key: whether clients have to send a key.
        line: who waits for an answer.
        counts: what was done.
        connections: how many connections are open.
        embedder: folder of an embedding model, if there is one.
        embedding: that model, once it was needed (`vlmchat.engine.embedding.Embedder`).
        known: which pictures earlier requests held.
        created: when the engine began, in seconds since 1970.
    """

    service: EngineService
    media_roots: Sequence[Path]
    limits: Limits
    line: Line
    has_key: bool = False
    counts: Counts = field(default_factory=Counts)
    connections: Callable[[], int] = lambda: 0
    embedder: Path | None = None
    embedding: Any = None
    known: KnownUrls = field(default_factory=KnownUrls)
    created: int = field(default_factory=lambda: int(time.time()))

    def resolver(self) -> MediaResolver:
        """Return what reads the pictures and videos that one request names."""
        return MediaResolver(self.media_roots, rules().limits, self.known, self.limits.pictures)


Handler: TypeAlias = Callable[[Served, Request], Awaitable[Response]]
"""Answers the requests of a route; what it raises becomes the answer that says so."""

"""The routes of one engine, put together."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from vlmchat.engine.cancelled import CancelledError
from vlmchat.engine.http import adapters, chat, embeddings, evidence, models, score
from vlmchat.engine.http.body import LIMITS
from vlmchat.engine.http.connections import Crowd
from vlmchat.engine.http.errors import refusal
from vlmchat.engine.http.gate import Gatekeeper, Rules
from vlmchat.engine.http.limits import Limits
from vlmchat.engine.http.line import Line, Turnstile, why
from vlmchat.engine.http.metrics import Observer, metrics
from vlmchat.engine.http.served import Handler, Served
from vlmchat.engine.service import EngineService

ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "/health", models.health),
    ("GET", "/metrics", metrics),
    ("GET", "/v1/models", models.models),
    ("GET", "/v1/models/{name:path}", models.model),
    ("POST", "/v1/chat/completions", chat.answer),
    ("POST", "/v1/score", score.score),
    ("POST", "/v1/evidence", evidence.evidence),
    ("POST", "/v1/embeddings", embeddings.embeddings),
    ("POST", "/v1/completions", chat.refuse_completions),
    ("POST", "/v1/load_lora_adapter", adapters.load),
    ("POST", "/v1/unload_lora_adapter", adapters.unload),
)
# Those whose requests wait for the model's one thread.
_IN_LINE = frozenset({"/v1/chat/completions", "/v1/score", "/v1/embeddings", "/v1/evidence"})


class EngineApp:
    """The routes of one engine.

    Args:
        service: the engine's state and its model.
        media_roots: folders that ``file:`` URLs may name.
        limits: what clients may take.
        embedder: folder of an embedding model, for ``/v1/embeddings``.

    Attributes:
        limits: what clients may take.
        line: who waits for an answer.
        crowd: the connections.
    """

    def __init__(
        self,
        service: EngineService,
        media_roots: Sequence[Path],
        limits: Limits | None = None,
        embedder: Path | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.line = Line(self.limits.queue)
        self.crowd = Crowd(self.limits)
        self._served = Served(service, media_roots, self.limits, self.line, embedder=embedder)
        self._served.connections = self.crowd.__len__

    def asgi(self, rules: Rules) -> Starlette:
        """Return the ASGI application, guarded by `rules`."""
        served = self._served
        served.has_key = bool(rules.keys)
        return Starlette(
            routes=[
                Route(path, self._answering(handler), methods=[method])
                for method, path, handler in ROUTES
            ],
            middleware=[
                Middleware(
                    Observer, counts=served.counts, routes=frozenset(path for _, path, _ in ROUTES)
                ),
                Middleware(Gatekeeper, rules=rules),
                Middleware(Turnstile, line=self.line, paths=_IN_LINE),
            ],
            lifespan=self._lifespan,
        )

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        loading = asyncio.create_task(self._served.service.load())
        yield
        loading.cancel()
        self._served.service.close()

    def _answering(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """Return `handler` as a route's endpoint, with answers for what it raises."""

        async def endpoint(request: Request) -> Response:
            request.scope[LIMITS] = self.limits
            try:
                return await handler(self._served, request)
            except ClientDisconnect:
                return Response(status_code=499)  # nobody is there to read it
            except Exception as problem:
                said = why(request, problem)
                if isinstance(said, CancelledError):
                    return Response(status_code=499)
                return refusal(said)

        return endpoint

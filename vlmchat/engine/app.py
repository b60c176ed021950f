"""The HTTP face of the engine: OpenAI chat completions, models, health."""

import asyncio
import contextlib
import json
import logging
import secrets
import threading
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from vlmchat.engine.cancelled import CancelledError
from vlmchat.engine.events import EXTENSIONS, Answer, Reading
from vlmchat.engine.media_urls import KnownUrls, MediaResolver
from vlmchat.engine.service import EngineService, NotReadyError
from vlmchat.errors import ModelError, UsageError, VlmchatError
from vlmchat.media.rules import rules

if TYPE_CHECKING:
    from vlmchat.engine.loading import LoadedModel

log = logging.getLogger(__name__)
_MAX_BODY = 512 * 1024 * 1024


class Gatekeeper:
    """Lets through only who knows the key, and no web page of another origin.

    Args:
        app: what is guarded.
        api_key: the bearer token; ``None`` asks for none.
    """

    def __init__(self, app: ASGIApp, api_key: str | None) -> None:
        self._app = app
        self._key = f"Bearer {api_key}".encode() if api_key else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse or pass on one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        refused: Response | None = None
        if b"origin" in headers:
            refused = _error(403, "Requests from web pages are not allowed.", "forbidden_origin")
        elif self._key and not secrets.compare_digest(
            headers.get(b"authorization", b""), self._key
        ):
            refused = _error(401, "The API key is missing or wrong.", "invalid_api_key")
        await (refused or self._app)(scope, receive, send)


def _error(status: int, message: str, code: str) -> JSONResponse:
    kind = "invalid_request_error" if status < 500 else "server_error"
    return JSONResponse(
        {"error": {"message": message, "type": kind, "param": None, "code": code}}, status
    )


def _refusal(error: Exception) -> JSONResponse:
    """Return the answer that tells a client of `error`."""
    if isinstance(error, NotReadyError):
        return _error(503, str(error), error.code)
    if isinstance(error, UsageError):
        return _error(400, str(error), error.code)
    if isinstance(error, VlmchatError):
        return _error(500, str(error), error.code)
    log.error("an answer failed", exc_info=error)
    return _error(500, f"The engine failed: {failure_text(error)}", "internal_error")


def failure_text(error: Exception) -> str:
    """Return one sentence for an error nobody foresaw."""
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return "out of memory; use fewer or smaller pictures, or a smaller model."
    return f"{type(error).__name__} (the details are in the engine's log)."


class EngineApp:
    """The routes of one engine.

    Args:
        service: the engine's state and its model.
        media_roots: folders that ``file:`` URLs may name.
    """

    def __init__(self, service: EngineService, media_roots: Sequence[Path]) -> None:
        self._service = service
        self._roots = media_roots
        self._known = KnownUrls()
        self._created = int(time.time())
        self._has_key = False

    def asgi(self, api_key: str | None) -> Starlette:
        """Return the ASGI application, guarded by `api_key`."""
        self._has_key = bool(api_key)
        return Starlette(
            routes=[
                Route("/health", self._health),
                Route("/v1/models", self._models),
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
                Route("/v1/load_lora_adapter", self._load_adapter, methods=["POST"]),
                Route("/v1/unload_lora_adapter", self._unload_adapter, methods=["POST"]),
                Route("/v1/completions", self._no_completions, methods=["POST"]),
            ],
            middleware=[Middleware(Gatekeeper, api_key=api_key)],
            lifespan=self._lifespan,
        )

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        loading = asyncio.create_task(self._service.load())
        yield
        loading.cancel()
        self._service.close()

    async def _no_completions(self, _: Request) -> Response:
        return _error(
            404, "/v1/completions is not served: use /v1/chat/completions.", "not_supported"
        )

    def _rows(self) -> list[dict[str, Any]]:
        """Return what is served: first what answers whoever names nothing, then the model bare."""
        first = self._service.loaded
        if first is None:
            return []
        base = first.base or first
        rows = {id(one): (name, one) for name, one in self._service.adapters.items()}
        named = [rows.pop(id(first), ("", first)), *([] if first is base else [("", base)])]
        return [self._row(one, name) for name, one in (*named, *rows.values())]

    def _row(self, loaded: "LoadedModel", adapter: str = "") -> dict[str, Any]:
        """Return a row of ``/v1/models``, of an adapter by its own name."""
        return {
            "id": adapter or loaded.id,
            "object": "model",
            "created": self._created,
            "owned_by": "vlmchat",
            "parent": loaded.id if adapter else None,
            "meta": {**loaded.meta(), "extensions": list(EXTENSIONS)},
        }

    async def _health(self, _: Request) -> Response:
        state, loaded = self._service.state, self._service.loaded
        ready = state.stage == "ready"
        body = {
            "status": "ok" if ready else "error" if state.stage == "failed" else "loading",
            "stage": state.stage,
            "text": state.text,
            "done": state.done,
            "total": state.total,
            "model": self._row(loaded) if ready and loaded else None,
        }
        return JSONResponse(body, 200 if ready else 503)

    async def _models(self, _: Request) -> Response:
        return JSONResponse({"object": "list", "data": self._rows()})

    async def _load_adapter(self, request: Request) -> Response:
        from vlmchat.engine.requests import LoadAdapter, parse

        try:
            self._check_near(request)
            asked = parse(LoadAdapter, await _body(request))
            loaded = await self._service.load_adapter(
                asked.lora_name, Path(asked.lora_path), replace=asked.load_inplace
            )
        except ClientDisconnect:
            return Response(status_code=499)
        except ModelError as error:  # what was asked for is wrong, not this engine
            return _error(400, str(error), error.code)
        except Exception as error:
            return _refusal(error)
        return JSONResponse({**self._row(loaded, asked.lora_name), "remark": loaded.remark})

    async def _unload_adapter(self, request: Request) -> Response:
        from vlmchat.engine.requests import UnloadAdapter, parse

        try:
            self._check_near(request)
            asked = parse(UnloadAdapter, await _body(request))
            self._service.require()
            self._service.unload_adapter(asked.lora_name)
        except ClientDisconnect:
            return Response(status_code=499)
        except Exception as error:
            return _refusal(error)
        return JSONResponse({"id": asked.lora_name, "object": "model", "deleted": True})

    def _check_near(self, request: Request) -> None:
        """Let only who knows the key, on this machine, say what is loaded from its disk.

        Raises:
            UsageError: says why not.
        """
        if not self._has_key:
            raise UsageError("Adapters are loaded for those with a key: serve with --api-key.")
        host = request.client.host if request.client else ""
        if not ip_address(host or "0.0.0.0").is_loopback:  # noqa: S104 - nobody's address
            raise UsageError("Adapters are loaded from this machine only: use 127.0.0.1.")

    async def _chat(self, request: Request) -> Response:
        cancel = threading.Event()
        try:
            job = await self._job(request, cancel)
            first = await anext(job.events)
        except (ClientDisconnect, CancelledError):
            return Response(status_code=499)  # nobody is there to read it
        except Exception as error:
            return _refusal(error)
        if job.stream:
            return StreamingResponse(
                job.sse(first),
                media_type="text/event-stream",
                headers={"Cache-Control": "no-store"},
            )
        try:
            return JSONResponse(await job.whole(first))
        except Exception as error:
            return _refusal(error)

    async def _job(self, request: Request, cancel: threading.Event) -> "Job":
        from vlmchat.engine.requests import parse_request

        self._service.require()
        asked = parse_request(await _body(request))
        loaded = self._service.require(asked.model)
        messages = await asyncio.to_thread(
            asked.conversation,
            MediaResolver(self._roots, rules().limits, self._known),
            videos=loaded.video,
        )
        going_on = asked.continue_final_message
        answer = self._service.answer(
            *(messages, asked.sampling(), cancel),
            going_on=going_on,
            drop_oldest=asked.when_full == "drop oldest",
            loaded=loaded,
        )
        told = asked.stream and asked.return_progress
        events: AsyncIterator[Any] = answer if told else _without_progress(answer)
        usage = asked.stream_options is not None and asked.stream_options.include_usage
        name = asked.model or loaded.id
        job = Job(name, loaded.provenance, events, asked.stream, usage)
        job.watch(request, cancel)
        return job


class Job:
    """One answer on its way to one client."""

    def __init__(
        self,
        model: str,
        provenance: Callable[[], dict[str, str]],
        events: AsyncIterator[Any],
        stream: bool,
        include_usage: bool,
    ) -> None:
        self.events = events
        self.stream = stream
        self._include_usage = include_usage
        self._provenance = provenance
        self._head = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": model,
        }
        self._watcher: asyncio.Task[None] | None = None

    def watch(self, request: Request, cancel: threading.Event) -> None:
        """Cancel the generation when the client hangs up, also while it waits its turn."""

        async def until_gone() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            cancel.set()

        self._watcher = asyncio.create_task(until_gone())

    async def sse(self, first: Any) -> AsyncIterator[bytes]:  # noqa: ANN401
        """Yield the server-sent events of a streamed answer."""
        yield self._chunk({"role": "assistant", "content": ""}, None)
        try:
            item = first
            while not isinstance(item, Answer):
                if isinstance(item, Reading):
                    yield self._chunk({}, None, {"prompt_progress": item.as_dict()})
                else:
                    yield self._chunk({"content": item}, None)
                item = await anext(self.events)
            yield self._chunk({}, item.finish_reason, self._extras(item))
            if self._include_usage:
                yield _sse({**self._head, **_CHUNK, "choices": [], "usage": _usage(item)})
            yield b"data: [DONE]\n\n"
        except Exception as error:
            yield b"data: " + bytes(_refusal(error).body) + b"\n\n"
        finally:
            await self._end()

    async def whole(self, first: Any) -> dict[str, Any]:  # noqa: ANN401
        """Return the answer that is not streamed."""
        pieces: list[str] = []
        item = first
        try:
            while not isinstance(item, Answer):
                pieces.append(item)
                item = await anext(self.events)
        finally:
            await self._end()
        message = {"role": "assistant", "content": "".join(pieces)}
        choice = {"index": 0, "message": message, "finish_reason": item.finish_reason}
        return {
            **self._head,
            "object": "chat.completion",
            "choices": [choice],
            "usage": _usage(item),
            **self._extras(item),
        }

    async def _end(self) -> None:
        if self._watcher:
            self._watcher.cancel()
        close = getattr(self.events, "aclose", None)
        if close:
            await close()

    def _extras(self, answer: Any) -> dict[str, Any]:  # noqa: ANN401
        # Asked now: an answer may begin with another way to compute than the one before it.
        provenance = {**self._provenance(), **answer.remarks()}
        return {"timings": answer.timings.as_dict(), "vlmchat": provenance}

    def _chunk(
        self, delta: dict[str, Any], reason: str | None, extras: dict[str, Any] | None = None
    ) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return _sse({**self._head, **_CHUNK, "choices": [choice], **(extras or {})})


async def _without_progress(
    events: AsyncGenerator[str | Reading | Answer, None],
) -> AsyncGenerator[str | Answer, None]:
    """Leave out what nobody asked for, so that the first thing that comes is an answer's."""
    async with contextlib.aclosing(events) as given:
        async for item in given:
            if not isinstance(item, Reading):
                yield item


_CHUNK = {"object": "chat.completion.chunk"}


def _usage(answer: Any) -> dict[str, Any]:  # noqa: ANN401
    prompt, completion = answer.prompt_tokens, answer.completion_tokens
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": answer.cached_tokens},
    }


def _sse(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


async def _body(request: Request) -> Any:  # noqa: ANN401 - JSON may be anything
    """Return the request's JSON body.

    Raises:
        UsageError: too large, or not JSON.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY:
            raise UsageError(f"The request is larger than {_MAX_BODY >> 20} MiB.")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise UsageError("The request's body is not JSON.") from None

"""``POST /v1/chat/completions``: one question, one answer, streamed or whole."""

import asyncio
import contextlib
import json
import threading
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from vlmchat.engine.events import Answer, Reading
from vlmchat.engine.http.body import read_json
from vlmchat.engine.http.errors import error, refusal
from vlmchat.engine.http.leaving import until_gone
from vlmchat.engine.http.line import why
from vlmchat.engine.http.metrics import OUTCOME, Counts
from vlmchat.engine.http.served import Served


async def refuse_completions(_: Served, __: Request) -> Response:
    """Answer ``POST /v1/completions``, which has no pictures and no turns."""
    return error(404, "/v1/completions is not served: use /v1/chat/completions.", "not_supported")


async def answer(served: Served, request: Request) -> Response:
    """Answer ``POST /v1/chat/completions``.

    Raises:
        VlmchatError: the request cannot be answered.
        CancelledError: whoever asked hung up.
    """
    job = await _job(served, request, threading.Event())
    first = await anext(job.events)
    if job.stream:
        return StreamingResponse(
            job.sse(first),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store"},
        )
    return JSONResponse(await job.whole(first))


async def _job(served: Served, request: Request, cancel: threading.Event) -> "Job":
    from vlmchat.engine.requests import parse_request

    served.service.require()
    asked = parse_request(await read_json(request))
    loaded = served.service.require(asked.model)
    messages = await asyncio.to_thread(asked.conversation, served.resolver(), videos=loaded.video)
    sampling = asked.sampling()

    def provenance() -> dict[str, Any]:
        return {**loaded.provenance(), "seed": sampling.seed}

    answer = served.service.answer(
        *(messages, sampling, cancel),
        going_on=asked.continue_final_message,
        drop_oldest=asked.when_full == "drop oldest",
        loaded=loaded,
        priority=asked.priority,
    )
    told = asked.stream and asked.return_progress
    events: AsyncIterator[Any] = answer if told else _without_progress(answer)
    usage = asked.stream_options is not None and asked.stream_options.include_usage
    name = asked.model or loaded.id
    job = Job(request, served.counts, name, provenance, events, asked.stream, usage)
    job.watch(cancel)
    return job


class Job:
    """One answer on its way to one client."""

    def __init__(
        self,
        request: Request,
        counts: Counts,
        model: str,
        provenance: Callable[[], dict[str, Any]],
        events: AsyncIterator[Any],
        stream: bool,
        include_usage: bool,
    ) -> None:
        self._request = request
        self._counts = counts
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

    def watch(self, cancel: threading.Event) -> None:
        """Cancel the generation when the client hangs up, also while it waits its turn."""
        self._watcher = asyncio.create_task(until_gone(self._request, cancel))

    async def sse(self, first: Any) -> AsyncIterator[bytes]:  # noqa: ANN401
        """Yield the server-sent events of a streamed answer."""
        self._request.scope[OUTCOME] = "cancelled"  # unless it comes to its end
        yield self._chunk({"role": "assistant", "content": ""}, None)
        try:
            item, begun = first, False
            while not isinstance(item, Answer):
                if isinstance(item, Reading):
                    yield self._chunk({}, None, {"prompt_progress": item.as_dict()})
                else:
                    # A reader who leaves before the end is to know, too, what it was made with.
                    told = None if begun else {"vlmchat": self._provenance()}
                    begun = True
                    yield self._chunk({"content": item}, None, told)
                item = await anext(self.events)
            self._counts.answered(item)
            yield self._chunk({}, item.finish_reason, self._extras(item))
            if self._include_usage:
                yield _sse({**self._head, **_CHUNK, "choices": [], "usage": _usage(item)})
            yield b"data: [DONE]\n\n"
            self._request.scope[OUTCOME] = "answered"
        except Exception as problem:
            self._request.scope[OUTCOME] = "failed"
            told_why = refusal(why(self._request, problem))
            yield b"data: " + bytes(told_why.body) + b"\n\n"
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
        self._counts.answered(item)
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

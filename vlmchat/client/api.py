"""The asynchronous client of an OpenAI-compatible engine."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import httpx2 as httpx

from vlmchat.chat.messages import Message
from vlmchat.chat.openai import to_openai
from vlmchat.client.body import request_body
from vlmchat.client.protocol import (
    OWN_FIELDS,
    EngineStatus,
    Finished,
    LoadedAdapter,
    ModelInfo,
    Reading,
    Sampling,
    StreamEvent,
    TextDelta,
    Usage,
)
from vlmchat.client.sse import json_events
from vlmchat.errors import EngineError, EngineUnreachableError, NoAdaptersError, UsageError
from vlmchat.text import visible_line

# Reading may take as long as a prefill on a slow machine; connecting may not.
_TIMEOUT = httpx.Timeout(10.0, read=None)
_EXCERPT = 200


def _wire_messages(messages: list[Message], videos: bool) -> list[dict[str, Any]]:
    from vlmchat.media.sending import as_sent  # loads Pillow, when the first question is asked

    return to_openai(as_sent(messages, videos=videos))


class EngineClient:
    """Talks to one engine.

    Args:
        base_url: the API's root, with or without the trailing ``/v1``.
        api_key: bearer token, when the engine wants one.
    """

    def __init__(self, base_url: str, api_key: str | None = None) -> None:
        root = base_url.rstrip("/")
        self.root = root.removesuffix("/v1")
        if not self.root.startswith(("http://", "https://")):
            raise UsageError(
                f"“{visible_line(base_url)}” is not an engine address: it must start with "
                "http:// or https://."
            )
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        try:
            self._http = httpx.AsyncClient(
                base_url=self.root, headers=headers, timeout=_TIMEOUT, trust_env=False
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise UsageError(
                f"“{visible_line(base_url)}” is not an engine address: {error}."
            ) from None
        # Fields of requests that the engine knows beside the standard's; unknown at first.
        self._extensions: frozenset[str] | None = None

    async def __aenter__(self) -> Self:
        """Return the client itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    @asynccontextmanager
    async def _reaching(self) -> AsyncIterator[None]:
        try:
            yield
        except httpx.TransportError as error:
            raise EngineUnreachableError(
                f"The engine at {visible_line(self.root)} does not answer "
                f"({_reason(error)}): check the address, or start it."
            ) from error
        except httpx.InvalidURL as error:
            raise UsageError(
                f"“{visible_line(self.root)}” is not an engine address: {error}."
            ) from error

    async def models(self) -> list[ModelInfo]:
        """Return the models the engine serves (``GET /v1/models``).

        Raises:
            EngineError: unreachable, refused, or not an OpenAI-compatible answer.
        """
        async with self._reaching():
            response = await self._http.get("/v1/models", timeout=10.0)
        body = self._json(response)
        rows = body.get("data")
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise self._garbage(response)
        self._extensions = frozenset(name for row in rows for name in _extensions(row))
        return [ModelInfo.from_json(row) for row in rows]

    async def status(self) -> EngineStatus:
        """Return the state of a vlmchat engine (``GET /health``).

        Raises:
            EngineError: unreachable, refused, or no vlmchat engine.
        """
        async with self._reaching():
            response = await self._http.get("/health", timeout=10.0)
        if response.status_code not in (200, 503):
            self._json(response)
        try:
            body = response.json()
            model = ModelInfo.from_json(body["model"]) if body.get("model") else None
            if model is not None:
                self._extensions = frozenset(_extensions(body["model"]))
            return EngineStatus(
                body["stage"], body["text"], int(body["done"]), int(body["total"]), model
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            raise self._garbage(response) from None

    async def chat(
        self,
        messages: Iterable[Message],
        sampling: Sampling,
        model: str = "",
        *,
        going_on: bool = False,
        videos: bool = False,
        adapter: str | None = None,
        progress: Callable[[Reading], None] | None = None,
    ) -> AsyncGenerator[StreamEvent, None]:
        """Stream the answer to `messages`.

        `progress` is told how far the prompt is read, by engines that tell that.

        `adapter` is the name of one that was loaded (`load_adapter`), which the engine keeps for
        this answer whatever is loaded or unloaded meanwhile; empty asks the model without any;
        ``None`` leaves it to the engine, or to `model`.

        With `going_on` the last message is an assistant's, and what is streamed continues it
        (``continue_final_message``, which vLLM and this program's own engine know). With `videos`
        the model is told of videos in SmolVLM2's own words.

        Yields `TextDelta` as text arrives and one `Finished` at the end. Closing the iterator
        hangs up, which cancels the generation.

        Raises:
            UsageError: the engine refused the request (HTTP 400, 413, 422), in its own words.
            EngineError: unreachable, refused, broken off, or not the protocol.
        """
        body: dict[str, Any] = {
            # Pictures may have to be read from the disk, and many of them are slow to encode.
            "messages": await asyncio.to_thread(_wire_messages, list(messages), videos),
            "stream": True,
            "stream_options": {"include_usage": True},
            **await self._known_fields(sampling, progress is not None),
        }
        if adapter == "" and not model:
            model = await self._bare_model()
        if name := adapter or model:
            body["model"] = name
        if going_on:
            body |= {"add_generation_prompt": False, "continue_final_message": True}
        async with (
            self._reaching(),
            self._http.stream(
                "POST",
                "/v1/chat/completions",
                content=await asyncio.to_thread(request_body, body),
                headers={"Content-Type": "application/json"},
            ) as response,
        ):
            if response.status_code != 200:
                await response.aread()
                self._json(response)
            if "text/event-stream" not in response.headers.get("content-type", ""):
                await response.aread()
                raise self._garbage(response)
            async for event in self._events(response, progress):
                yield event

    async def _known_fields(self, sampling: Sampling, progress: bool) -> dict[str, Any]:
        """Return the request fields of `sampling`, without those that the engine does not know."""
        given = sampling.as_fields()
        if self._extensions is None and OWN_FIELDS & given.keys():
            await self.models()
        known = self._extensions or frozenset()
        if progress and "return_progress" in known:
            given["return_progress"] = True
        return {k: v for k, v in given.items() if k not in OWN_FIELDS or k in known}

    async def _bare_model(self) -> str:
        """Return the first model that is served without an adapter."""
        for row in await self.models():
            if not row.parent:
                return row.id
        return ""

    # Adapters -----------------------------------------------------------------------------------

    async def load_adapter(
        self, name: str, folder: Path, *, replace: bool = False
    ) -> LoadedAdapter:
        """Have the engine lay an adapter over its model (``POST /v1/load_lora_adapter``).

        Args:
            name: what requests will call it.
            folder: where it lies on the engine's machine.
            replace: whether another adapter of that name gives way.

        Raises:
            NoAdaptersError: the engine cannot do this while it runs.
            UsageError: the adapter does not fit, in the engine's words; nothing has changed.
            EngineError: unreachable, or refused.
        """
        body: dict[str, Any] = {"lora_name": name, "lora_path": str(folder)}
        if replace:
            body["load_inplace"] = True
        response = await self._adapters("load_lora_adapter", body)
        try:
            row = response.json()
            model = ModelInfo.from_json(row)
        except (ValueError, TypeError, AttributeError):  # vLLM says so in words
            return LoadedAdapter(ModelInfo(name, name))
        return LoadedAdapter(model, visible_line(str(row.get("remark") or "")))

    async def unload_adapter(self, name: str) -> None:
        """Have the engine forget an adapter (``POST /v1/unload_lora_adapter``).

        Raises:
            NoAdaptersError: the engine cannot do this while it runs.
            UsageError: it has none of that name.
            EngineError: unreachable, or refused.
        """
        await self._adapters("unload_lora_adapter", {"lora_name": name})

    async def _adapters(self, route: str, body: dict[str, Any]) -> httpx.Response:
        async with self._reaching():
            response = await self._http.post(f"/v1/{route}", json=body)
        try:
            said = _error_text(response.json())
        except ValueError:
            said = ""
        if response.status_code in (404, 405, 501) and not said:
            raise NoAdaptersError(
                f"The engine at {visible_line(self.root)} cannot change adapters while it runs."
            )
        if response.status_code != 200:
            self._json(response)
        return response

    async def _events(
        self, response: httpx.Response, progress: Callable[[Reading], None] | None
    ) -> AsyncIterator[StreamEvent]:
        reason, usage = "", None
        timings: dict[str, float] = {}
        provenance: dict[str, Any] = {}
        finished = False
        async for data in json_events(response.aiter_bytes()):
            if data is None:
                finished = True
                break
            if not isinstance(data, dict):
                raise self._garbage(response)
            if "error" in data:
                raise EngineError(_error_text(data) or "The engine failed while answering.")
            usage = _usage(data) or usage
            timings = data.get("timings") or timings
            provenance = data.get("vlmchat") or provenance
            if progress and (reading := Reading.from_json(data.get("prompt_progress"))):
                progress(reading)
            for choice in data.get("choices") or ():
                text = (choice.get("delta") or {}).get("content")
                if text:
                    yield TextDelta(str(text))
                reason = choice.get("finish_reason") or reason
        if not finished and not reason:
            raise EngineError("The engine stopped in mid-answer: what arrived is kept.")
        yield Finished(reason or "stop", usage, dict(timings), dict(provenance))

    def _json(self, response: httpx.Response) -> dict[str, Any]:
        """Return the JSON object of a good answer; raise what a bad one means."""
        code = response.status_code
        try:
            body = response.json()
        except ValueError:
            body = None
        said = _error_text(body)
        where = visible_line(self.root)
        if code in (401, 403):
            raise EngineError(
                f"The engine at {where} refused the key (HTTP {code}): give the right one."
            )
        if code == 404 and not said:
            raise EngineError(
                f"The server at {where} has no chat-completions API (HTTP 404): "
                "check the address; it usually ends in /v1."
            )
        if code in (400, 404, 413, 422):
            raise UsageError(said or f"The engine at {where} refused the request (HTTP {code}).")
        if code != 200:
            detail = f": {said}" if said else "."
            raise EngineError(f"The engine at {where} failed (HTTP {code}){detail}")
        if not isinstance(body, dict):
            raise self._garbage(response)
        return body

    def _garbage(self, response: httpx.Response) -> EngineError:
        excerpt = visible_line(response.text[:_EXCERPT]).strip()
        return EngineError(
            f"The server at {visible_line(self.root)} does not speak the chat-completions API "
            f"(it answered “{excerpt or 'nothing'}”): check the address."
        )


def _reason(error: Exception) -> str:
    return visible_line(str(error)).strip().rstrip(".") or type(error).__name__


def _error_text(body: object) -> str:
    if not isinstance(body, dict):
        return ""
    error = body.get("error")
    if isinstance(error, dict):
        error = error.get("message")
    return visible_line(error) if isinstance(error, str) else ""


def _extensions(row: dict[str, Any]) -> list[str]:
    """Return the fields of requests that a model's row names beside the standard's."""
    meta = row.get("meta")
    named = meta.get("extensions") if isinstance(meta, dict) else None
    return [name for name in named if isinstance(name, str)] if isinstance(named, list) else []


def _usage(data: dict[str, Any]) -> Usage | None:
    row = data.get("usage")
    if not isinstance(row, dict):
        return None
    details = row.get("prompt_tokens_details") or {}
    return Usage(
        int(row.get("prompt_tokens", 0)),
        int(row.get("completion_tokens", 0)),
        int(details.get("cached_tokens") or 0),
    )

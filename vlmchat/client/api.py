"""The asynchronous client of an OpenAI-compatible engine."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import httpx2 as httpx

from vlmchat.chat.messages import Detail, Message
from vlmchat.chat.openai import to_openai
from vlmchat.client.body import request_body
from vlmchat.client.dialects import (
    OURS,
    QUESTIONS,
    models_of,
    standard_details,
    told,
)
from vlmchat.client.evidence import EVERYTHING, Evidence, Wanted
from vlmchat.client.protocol import (
    OWN_FIELDS,
    Begun,
    EngineStatus,
    Finished,
    LoadedAdapter,
    ModelInfo,
    Reading,
    Sampling,
    Score,
    StreamEvent,
    TextDelta,
    Usage,
)
from vlmchat.client.replies import garbage, json_of, reason, said_in
from vlmchat.client.sse import json_events
from vlmchat.errors import (
    EngineError,
    EngineUnreachableError,
    NoAdaptersError,
    NotOurEngineError,
    UsageError,
)
from vlmchat.text import visible_line

# Reading may take as long as a prefill on a slow machine; connecting may not.
_TIMEOUT = httpx.Timeout(10.0, read=None)


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
        self._foreign = False

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
                f"({reason(error)}): check the address, or start it."
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
        body = json_of(response, self.root)
        rows = body.get("data")
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise garbage(response, self.root)
        self._extensions = frozenset(name for row in rows for name in _extensions(row))
        found = models_of(body)
        self._foreign = any(model.server not in ("", OURS) for model in found)
        return found

    async def more(self, model: ModelInfo) -> ModelInfo:
        """Return `model` with what its server tells in a way of its own, where it has one."""
        method, path, named = QUESTIONS.get(model.server, ("", "", ""))
        if not path:
            return model
        body = {named: model.id} if named else None
        try:
            response = await self._http.request(method, path, json=body, timeout=10.0)
            return told(model, response.json() if response.status_code == 200 else None)
        except (httpx.HTTPError, ValueError):
            return model  # what is not known is tried

    async def status(self) -> EngineStatus:
        """Return the state of a vlmchat engine (``GET /health``).

        Raises:
            EngineError: unreachable, refused, or no vlmchat engine.
        """
        async with self._reaching():
            response = await self._http.get("/health", timeout=10.0)
        if response.status_code not in (200, 503):
            json_of(response, self.root)
        try:
            body = response.json()
            model = ModelInfo.from_json(body["model"]) if body.get("model") else None
            if model is not None:
                self._extensions = frozenset(_extensions(body["model"]))
            return EngineStatus(
                body["stage"], body["text"], int(body["done"]), int(body["total"]), model
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            raise garbage(response, self.root) from None

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

        Yields `Begun` if the engine says with what it answers, `TextDelta` as text arrives and
        one `Finished` at the end. Closing the iterator
        hangs up, which cancels the generation.

        Raises:
            UsageError: the engine refused the request (HTTP 400, 413, 422), in its own words.
            EngineError: unreachable, refused, broken off, or not the protocol.
        """
        # Pictures may have to be read from the disk, and many of them are slow to encode.
        rows = await asyncio.to_thread(_wire_messages, list(messages), videos)
        body: dict[str, Any] = {
            "messages": standard_details(rows) if self._foreign else rows,
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
                json_of(response, self.root)
            if "text/event-stream" not in response.headers.get("content-type", ""):
                await response.aread()
                with contextlib.suppress(ValueError):
                    if said := said_in(response.json()):  # LM Studio's, with HTTP 200
                        raise EngineError(said)
                raise garbage(response, self.root)
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

    # What only this program's engine does ---------------------------------------------------------

    async def score(
        self,
        messages: Iterable[Message],
        continuations: Sequence[str],
        *,
        detail: Detail | None = None,
        model: str = "",
        videos: bool = False,
    ) -> list[Score]:
        """Return how likely each of some answers to `messages` is (``POST /v1/score``).

        Args:
            messages: the conversation up to where an answer begins.
            continuations: answers, none of them empty.
            detail: how finely to look at all pictures, in place of what each of them says.
            model: or adapter; by default what the engine answers with.
            videos: see `chat`.

        Raises:
            NotOurEngineError: the engine cannot do this.
            UsageError: it refused the request, in its own words.
            EngineError: unreachable, broken off, or not the protocol.
        """
        body: dict[str, Any] = {
            "messages": await asyncio.to_thread(_wire_messages, list(messages), videos),
            "continuations": list(continuations),
        }
        if detail is not None:
            body["detail"] = str(detail)
        if model:
            body["model"] = model
        answer = await self._own_route("score", body, "say how likely given answers are")
        try:
            rows = sorted(answer["data"], key=lambda row: int(row["index"]))
            found = [
                Score(float(row["logprob"]), int(row["tokens"]), tuple(row["token_logprobs"]))
                for row in rows
            ]
        except (ValueError, KeyError, TypeError):
            raise self._not_ours("say how likely given answers are") from None
        if len(found) != len(body["continuations"]):
            raise self._not_ours("say how likely given answers are")
        return found

    async def is_ours(self) -> bool:
        """Return whether this program's own engine answers.

        Raises:
            EngineError: unreachable, or not an OpenAI-compatible answer.
        """
        if self._extensions is None:
            await self.models()
        return bool(self._extensions)

    async def evidence(
        self, messages: Iterable[Message], wanted: Wanted = EVERYTHING, *, videos: bool = False
    ) -> Evidence:
        """Return where the answer, the last message, looked (``POST /v1/evidence``).

        Raises as `score`.
        """
        what = "say where an answer looked"
        sent = await asyncio.to_thread(_wire_messages, list(messages), videos)
        answer = await self._own_route("evidence", {"messages": sent, **wanted.fields()}, what)
        try:
            return Evidence.from_json(answer)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise self._not_ours(what) from None

    async def _own_route(self, route: str, body: dict[str, Any], what: str) -> dict[str, Any]:
        """Return the answer of a route that other engines lack.

        Args:
            route: below ``/v1/``.
            body: of the request, with ``messages``.
            what: it does, as what an engine cannot.

        Raises:
            NotOurEngineError: the engine has no such route, or another by this name.
            UsageError: it refused the request, in its own words.
            EngineError: unreachable, broken off, or not the protocol.
        """
        async with self._reaching():
            response = await self._http.post(
                f"/v1/{route}",
                content=await asyncio.to_thread(request_body, body),
                headers={"Content-Type": "application/json"},
            )
        # vLLM has a route of the same name as one of ours that wants other fields.
        if response.status_code in (404, 405) or (
            response.status_code in (400, 422, 501) and not await self.is_ours()
        ):
            raise self._not_ours(what)
        return json_of(response, self.root)

    def _not_ours(self, what: str) -> NotOurEngineError:
        return NotOurEngineError(
            f"The engine at {visible_line(self.root)} cannot {what}: this needs vlmchat's own "
            "engine, so leave out --engine-url."
        )

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
            said = said_in(response.json())
        except ValueError:
            said = ""
        nowhere = response.status_code in (404, 405, 501) and not said
        if nowhere or (response.status_code == 200 and said):  # as LM Studio says it
            raise NoAdaptersError(
                f"The engine at {visible_line(self.root)} cannot change adapters while it runs."
            )
        if response.status_code != 200:
            json_of(response, self.root)
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
                raise garbage(response, self.root)
            if "error" in data:
                raise EngineError(said_in(data) or "The engine failed while answering.")
            usage = _usage(data) or usage
            timings = data.get("timings") or timings
            if isinstance(told := data.get("vlmchat"), dict):
                if not provenance:
                    yield Begun(told)
                provenance = told
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

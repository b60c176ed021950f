"""Asking about each row: the picture is read, the engine is asked, what comes back is a row."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from vlmchat.batch.flight import in_order
from vlmchat.batch.rows import Row
from vlmchat.batch.shapes import Shape, found_json
from vlmchat.errors import EngineBusyError, EngineError, EngineUnreachableError, UsageError

if TYPE_CHECKING:
    from vlmchat.chat.messages import Detail, ImagePart, Message, VideoPart
    from vlmchat.client.api import EngineClient
    from vlmchat.client.protocol import Finished, ModelInfo, Sampling
    from vlmchat.media.choosing import Wishes

BACKGROUND = 1
"""The priority of a batch: whoever asks a question of their own goes first."""

_TRIES = 6  # of a request that a busy or vanished engine did not take
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_FAILED_IN_A_ROW = 8  # after which it is the engine and not the rows


@dataclass(frozen=True, slots=True)
class How:
    """How every row is asked.

    Attributes:
        sampling: how tokens are chosen.
        system: the system prompt; may be empty.
        detail: how finely pictures are looked at, where nothing else is wished.
        wished: what of pictures and videos is looked at.
        frames: of a video that there is room for.
        shape: of the JSON that the answers are to be.
        patient: whether an engine that is busy or away is waited for.
    """

    sampling: "Sampling"
    system: str
    detail: "Detail"
    wished: "Wishes"
    frames: int | None = None
    shape: Shape | None = None
    patient: bool = True

    def decisive(self) -> dict[str, Any]:
        """Return what of it decides answers, as plain values."""
        return {
            "sampling": asdict(self.sampling),
            "system": self.system,
            "detail": str(self.detail),
            "wished": repr(self.wished),
            "schema": self.shape.schema if self.shape else None,
        }


def identity(info: "ModelInfo") -> list[str]:
    """Return what says which weights answer."""
    known = asdict(info)
    names = ("id", "revision", "quantization", "dtype", "adapter")
    return [str(known[name]) for name in names]


@dataclass(slots=True)
class _Said:
    """One answer of the engine."""

    text: str
    finished: "Finished"
    first_ms: float
    total_ms: float


@dataclass(slots=True)
class Asker:
    """Asks an engine about rows.

    Args:
        client: of the engine.
        info: the model it serves.
        model: the name to ask for.
        how: every row is asked.
        pause: waits for so many seconds.
    """

    client: "EngineClient"
    info: "ModelInfo"
    model: str
    how: How
    pause: Callable[[float], Any] = asyncio.sleep
    _failed: int = field(default=0, init=False)

    async def answers(self, rows: Sequence[Row], in_flight: int) -> AsyncGenerator[dict[str, Any]]:
        """Yield an answer a row, in order, with several rows in flight.

        Raises:
            EngineError: the engine is gone, or fails again and again.
        """
        async with aclosing(in_order(self.answer, rows, in_flight)) as found:
            async for row in found:
                yield row

    async def answer(self, row: Row) -> dict[str, Any]:
        """Return what is written of a row; what is wrong with the row is in it.

        Raises:
            EngineError: the engine is gone, or fails again and again.
        """
        found: dict[str, Any] = {"source": row.source, "prompt": row.prompt, "answer": None}
        if self.how.shape is not None:
            found["json"] = None
        found |= {"finish_reason": None, "usage": None, "timings": None, "error": None}
        try:
            messages = await asyncio.to_thread(self._messages, row)
            if self.how.shape is None:
                self._take(found, await self._said(messages))
            else:
                await self._shaped(found, messages, self.how.shape)
        except UsageError as error:  # the row's own fault: a broken picture, too long a prompt
            found["error"] = str(error)
        except (EngineUnreachableError, EngineBusyError):
            raise
        except EngineError as error:
            self._failed += 1
            if not self.how.patient or self._failed >= _FAILED_IN_A_ROW:
                raise
            found["error"] = str(error)
        else:
            self._failed = 0
        return found

    async def _shaped(self, found: dict[str, Any], messages: "list[Message]", shape: Shape) -> None:
        """Ask for JSON of a shape; where it is not, once more, with what was wrong."""
        from vlmchat.chat.messages import Message, TextPart, user_message

        for attempt in (1, 2):
            said = await self._said(messages)
            self._take(found, said)
            found["attempts"] = attempt
            try:
                value = found_json(said.text)
                fault = shape.fault(value)
            except ValueError as error:
                fault = str(error)
            if fault is None:
                found["json"], found["error"] = value, None
                return
            found["error"] = f"The answer is not of the shape that was asked for: {fault}."
            again = f"That is not what was asked for: {fault}. Answer again, with the JSON only."
            told = Message("assistant", (TextPart(said.text or "…"),))
            messages = [*messages, told, user_message(again)]

    def _take(self, found: dict[str, Any], said: _Said) -> None:
        """Put an answer into a row; what several attempts took is added up."""
        usage = asdict(said.finished.usage) if said.finished.usage else None
        if usage is not None and found["usage"] is not None:
            usage = {name: value + found["usage"][name] for name, value in usage.items()}
        before = found["timings"]["total_ms"] if found["timings"] else 0.0
        timings = {"first_token_ms": said.first_ms, "total_ms": said.total_ms + before}
        found["answer"], found["finish_reason"] = said.text, said.finished.finish_reason
        found["usage"] = usage
        found["timings"] = {k: round(v, 3) for k, v in timings.items()} | said.finished.timings

    async def _said(self, messages: "list[Message]") -> _Said:
        """Return the engine's answer; one that is busy or away is asked again.

        Raises:
            UsageError: the engine refuses this request.
            EngineError: it is gone, or failed.
        """
        wait = _FIRST_PAUSE
        for left in reversed(range(_TRIES)):
            try:
                return await self._once(messages)
            except (EngineBusyError, EngineUnreachableError) as error:
                if not left or not self.how.patient:
                    raise
                asked = error.after if isinstance(error, EngineBusyError) else 0.0
                await self.pause(min(max(wait, asked), _LONGEST_PAUSE))
                wait *= 2
        raise AssertionError("the last try returns or raises")

    async def _once(self, messages: "list[Message]") -> _Said:
        from vlmchat.client.protocol import Finished, TextDelta

        began, first, pieces = time.perf_counter(), 0.0, list[str]()
        finished: Finished | None = None
        sampling = replace(self.how.sampling, priority=BACKGROUND)
        asked = self.client.chat(messages, sampling, self.model, videos=self.info.video)
        async with aclosing(asked) as events:
            async for event in events:
                if isinstance(event, Finished):
                    finished = event
                elif isinstance(event, TextDelta):
                    first = first or (time.perf_counter() - began) * 1000
                    pieces.append(event.text)
        assert finished is not None
        return _Said("".join(pieces), finished, first, (time.perf_counter() - began) * 1000)

    def _messages(self, row: Row) -> "list[Message]":
        """Return what is asked about a row; reads and decodes its pictures.

        Raises:
            UsageError: one cannot be read.
        """
        from vlmchat.chat.messages import Message, TextPart, user_message
        from vlmchat.media.choosing import attach_as_wished

        how = self.how
        parts: list[ImagePart | VideoPart] = [
            attach_as_wished(path, how.wished, how.detail, how.frames).part for path in row.media
        ]
        prompt = row.prompt
        if how.shape is not None:
            schema = json.dumps(how.shape.schema, ensure_ascii=False)
            prompt += f"\n\nAnswer with JSON only, of this JSON schema:\n{schema}"
        messages = [user_message(prompt, parts)]
        system = how.system if row.system is None else row.system
        if system.strip():
            messages.insert(0, Message("system", (TextPart(system),)))
        return messages

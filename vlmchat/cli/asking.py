"""A question from the command line on its way to an engine, and what comes back."""

import contextlib
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from vlmchat.errors import EngineError
from vlmchat.text import visible, visible_line

if TYPE_CHECKING:
    from vlmchat.chat.messages import Message
    from vlmchat.client.api import EngineClient
    from vlmchat.client.protocol import Finished, ModelInfo, Sampling
    from vlmchat.client.supervisor import EngineOptions
    from vlmchat.settings import Settings


@dataclass(slots=True)
class Asking:
    """Whom to ask, and how."""

    sampling: "Sampling"
    engine: "EngineOptions"
    url: str | None
    api_key: str | None
    model: str | None

    @classmethod
    def of(cls, settings: "Settings") -> "Asking":
        """Return what the settings say."""
        engine = settings.engine
        return cls(
            settings.as_sampling(),
            settings.engine_options(),
            engine.url,
            engine.api_key,
            engine.model,
        )


@dataclass(slots=True)
class Reply:
    """What came back.

    Attributes:
        pieces: the text as it came.
        finished: its end.
        first_token_ms: from the question to the first piece.
        total_ms: from the question to the end.
    """

    pieces: list[str] = field(default_factory=list)
    finished: "Finished | None" = None
    first_token_ms: float = 0.0
    total_ms: float = 0.0

    def as_json(self, model: "ModelInfo") -> dict[str, Any]:
        """Return the object that ``--json`` prints."""
        done = self.finished
        assert done is not None
        made = done.provenance
        usage = asdict(done.usage) if done.usage else None
        if usage is not None:
            usage["total_tokens"] = usage["prompt_tokens"] + usage["completion_tokens"]
        timings = {"first_token_ms": self.first_token_ms, "total_ms": self.total_ms}
        return {
            "text": "".join(self.pieces),
            "model": made.get("model", model.id),
            "revision": made.get("revision", model.revision),
            "quantization": made.get("quantization", model.quantization),
            "adapter": made.get("adapter", model.adapter),
            "device": made.get("device", model.device),
            "dtype": made.get("dtype", model.dtype),
            "seed": made.get("seed"),
            "finish_reason": done.finish_reason,
            "usage": usage,
            "timings": {**{k: round(v, 3) for k, v in timings.items()}, **done.timings},
        }


async def stream(
    client: "EngineClient",
    messages: "list[Message]",
    sampling: "Sampling",
    model: str,
    reply: Reply,
    *,
    quiet: bool,
    videos: bool = False,
) -> None:
    """Ask, and gather the answer in `reply`.

    Args:
        client: of the engine.
        messages: what is asked.
        sampling: how tokens are chosen.
        model: the name to ask for.
        reply: takes what comes, so that what came before an error is there.
        quiet: whether the pieces are not printed as they come.
        videos: whether the model has learned videos.

    Raises:
        VlmchatError: it was refused, or broke off.
    """
    from vlmchat.client.protocol import Finished, TextDelta

    began = time.perf_counter()
    async for event in client.chat(messages, sampling, model, videos=videos):
        if isinstance(event, Finished):
            reply.finished = event
        if not isinstance(event, TextDelta):
            continue
        if not reply.pieces:
            reply.first_token_ms = (time.perf_counter() - began) * 1000
        reply.pieces.append(event.text)
        if not quiet:
            # A terminal obeys control sequences, a pipe passes them on as they are.
            shown = visible(event.text) if sys.stdout.isatty() else event.text
            print(shown, end="", flush=True)
    reply.total_ms = (time.perf_counter() - began) * 1000


@contextlib.asynccontextmanager
async def engine(asking: Asking) -> "AsyncIterator[tuple[EngineClient, ModelInfo, str]]":
    """Yield the client of a ready engine, the model it serves, and the name to ask for.

    Raises:
        EngineError: there is none, or it cannot load the model.
    """
    if asking.url:
        from vlmchat.client.api import EngineClient

        async with EngineClient(asking.url, asking.api_key) as client:
            models = await client.models()
            if not models:
                raise EngineError(f"The engine at {visible_line(asking.url)} serves no model.")
            info = next((m for m in models if m.id == asking.model), models[0])
            yield client, info, asking.model or info.id
        return
    from vlmchat.cli.loading import ready_engine

    async with ready_engine(asking.engine) as (local, info):
        try:
            yield local.client, info, ""  # what it began with, an adapter among it
        except EngineError as error:
            if local.pid is not None:
                raise
            raise EngineError(local.death_notice()) from error

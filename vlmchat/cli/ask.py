"""``vlmchat ask``: one question, one streamed answer, for scripts and pipes."""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmchat.cli import options
from vlmchat.cli.endings import quiet_endings
from vlmchat.cli.overrides import engine_overrides, given
from vlmchat.errors import EngineError, UsageError
from vlmchat.text import visible, visible_line

if TYPE_CHECKING:
    from vlmchat.chat.messages import Message
    from vlmchat.client.api import EngineClient
    from vlmchat.client.protocol import Finished, ModelInfo, Sampling
    from vlmchat.client.supervisor import EngineOptions


@dataclass(slots=True)
class Question:
    """All of one question."""

    messages: "list[Message]"
    sampling: "Sampling"
    engine: "EngineOptions"
    url: str | None
    api_key: str | None
    model: str | None


@dataclass(slots=True)
class Reply:
    """What came back."""

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


def ask(
    prompt: Annotated[
        str | None, typer.Argument(help="The question; - reads it from standard input.")
    ] = None,
    attach: Annotated[
        list[Path] | None, typer.Option("--attach", "-a", help="A picture; repeatable.")
    ] = None,
    system: options.System = None,
    model: options.Model = None,
    quant: options.Quant = None,
    device: options.Device = None,
    adapter: options.Adapter = None,
    temperature: Annotated[
        float | None, typer.Option(min=0, max=2, help="0 takes the likeliest token.")
    ] = None,
    top_p: Annotated[float | None, typer.Option(min=0, max=1)] = None,
    top_k: Annotated[int | None, typer.Option(min=0)] = None,
    min_p: Annotated[float | None, typer.Option(min=0, max=1)] = None,
    repetition_penalty: Annotated[float | None, typer.Option(min=0.01, max=10)] = None,
    max_new_tokens: Annotated[int | None, typer.Option(min=1)] = None,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    engine_url: options.EngineUrl = None,
    api_key: options.ApiKey = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Ask one question and print the answer."""
    if engine_url and (quant or device or adapter):
        raise UsageError("--quant, --device and --adapter are for the local engine only.")
    overrides = {
        "engine": engine_overrides(
            model=model,
            quant=quant,
            device=device,
            adapter=str(adapter) if adapter else None,
            url=engine_url,
            api_key=api_key,
        ),
        "sampling": given(
            **{"temperature": temperature, "top_p": top_p, "top_k": top_k, "min_p": min_p},
            **{"repetition_penalty": repetition_penalty, "max_tokens": max_new_tokens},
            seed=seed,
        ),
        "chat": given(system=system),
    }
    question = _question(_question_text(prompt), attach or [], overrides)
    with quiet_endings():
        raise typer.Exit(asyncio.run(_ask(question, as_json)))


def _question(text: str, attach: list[Path], overrides: dict[str, dict[str, Any]]) -> Question:
    """Return the question with its pictures read and the settings applied.

    Raises:
        UsageError: a setting is wrong, or a picture cannot be read.
    """
    from vlmchat.chat.messages import Message, TextPart, user_message
    from vlmchat.media.attaching import attach as attach_file
    from vlmchat.prompts import resolved
    from vlmchat.settings import load_settings

    settings = load_settings(overrides)
    settings.put_in_force()
    engine = settings.engine
    messages = [user_message(text, tuple(attach_file(path).part for path in attach))]
    if (system := resolved(settings.chat.system)).strip():
        messages.insert(0, Message("system", (TextPart(system),)))
    return Question(
        messages=messages,
        sampling=settings.sampling.as_sampling(),
        engine=settings.engine_options(),
        url=engine.url,
        api_key=engine.api_key,
        model=engine.model,
    )


def _question_text(prompt: str | None) -> str:
    """Return the question, from standard input where it was asked for there.

    Raises:
        UsageError: there is none, or it is not text.
    """
    text = prompt
    if prompt == "-" or (prompt is None and not sys.stdin.isatty()):
        try:
            text = sys.stdin.buffer.read().decode("utf-8")
        except UnicodeDecodeError:
            raise UsageError("Standard input is not UTF-8 text.") from None
    if text is None or not text.strip():
        raise UsageError('There is no question: vlmchat ask -a photo.jpg "What is this?"')
    return text


async def _ask(question: Question, as_json: bool) -> int:
    reply = Reply()
    async with _engine(question) as (client, info):
        model = question.model if question.url and question.model else info.id
        began = time.perf_counter()
        await _stream(client, question, model, reply, quiet=as_json, videos=info.video)
        reply.total_ms = (time.perf_counter() - began) * 1000
    if as_json:
        print(json.dumps(reply.as_json(info), ensure_ascii=False))
    else:
        text = "".join(reply.pieces)
        print("" if text.endswith("\n") else "\n", end="", flush=True)
        if reply.finished and reply.finished.finish_reason == "length":
            _say("The answer was cut off at the most tokens allowed (--max-new-tokens).")
    return 0


async def _stream(
    client: "EngineClient",
    question: Question,
    model: str,
    reply: Reply,
    *,
    quiet: bool,
    videos: bool,
) -> None:
    from vlmchat.client.protocol import TextDelta

    began = time.perf_counter()
    async for event in client.chat(question.messages, question.sampling, model, videos=videos):
        if not isinstance(event, TextDelta):
            reply.finished = event
            continue
        if not reply.pieces:
            reply.first_token_ms = (time.perf_counter() - began) * 1000
        reply.pieces.append(event.text)
        if not quiet:
            # A terminal obeys control sequences, a pipe passes them on as they are.
            shown = visible(event.text) if sys.stdout.isatty() else event.text
            print(shown, end="", flush=True)


@contextlib.asynccontextmanager
async def _engine(question: Question) -> "AsyncIterator[tuple[EngineClient, ModelInfo]]":
    """Yield the client of a ready engine and the model it serves."""
    if question.url:
        from vlmchat.client.api import EngineClient

        async with EngineClient(question.url, question.api_key) as client:
            models = await client.models()
            if not models:
                raise EngineError(f"The engine at {visible_line(question.url)} serves no model.")
            yield client, next((m for m in models if m.id == question.model), models[0])
        return
    from vlmchat.cli.loading import ready_engine

    async with ready_engine(question.engine) as (engine, info):
        try:
            yield engine.client, info
        except EngineError as error:
            if engine.pid is not None:
                raise
            raise EngineError(f"{engine.death_notice()}") from error


def _say(text: str) -> None:
    """Print a remark where it does not mix with the answer."""
    if sys.stderr.isatty():
        print(text, file=sys.stderr)


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(ask)

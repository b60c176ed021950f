"""``vlmchat ask``: one question, one streamed answer, for scripts and pipes."""

import asyncio
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmchat.cli import looking, options
from vlmchat.cli.endings import quiet_endings
from vlmchat.cli.overrides import engine_overrides, given
from vlmchat.cli.why import check_engine, check_why
from vlmchat.cli.why import why as looked
from vlmchat.errors import UsageError, VlmchatError
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from vlmchat.chat.messages import Attachment, Message
    from vlmchat.cli.asking import Asking
    from vlmchat.client.protocol import ModelInfo
    from vlmchat.media.choosing import Wishes


@dataclass(slots=True)
class Question:
    """All of one question."""

    messages: "list[Message]"
    attached: "tuple[Attachment, ...]"
    asking: "Asking"


def ask(
    prompt: Annotated[
        str | None, typer.Argument(help="The question; - reads it from standard input.")
    ] = None,
    attach: Annotated[
        list[Path] | None, typer.Option("--attach", "-a", help="A picture or video; repeatable.")
    ] = None,
    detail: looking.Detail = None,
    crop: looking.Crop = None,
    fps: looking.Fps = None,
    max_frames: looking.MaxFrames = None,
    start: looking.From = None,
    end: looking.To = None,
    frames: looking.Frames = None,
    system: options.System = None,
    model: options.Model = None,
    quant: options.Quant = None,
    device: options.Device = None,
    adapter: options.Adapter = None,
    threads: options.Threads = None,
    native: options.Native = None,
    temperature: options.Temperature = None,
    top_p: Annotated[float | None, typer.Option(min=0, max=1)] = None,
    top_k: Annotated[int | None, typer.Option(min=0)] = None,
    min_p: Annotated[float | None, typer.Option(min=0, max=1)] = None,
    repetition_penalty: Annotated[float | None, typer.Option(min=0.01, max=10)] = None,
    max_new_tokens: options.MaxNewTokens = None,
    seed: options.Seed = None,
    repeat_guard: options.RepeatGuard = None,
    prompt_lookup: Annotated[
        bool | None, typer.Option(help="Guess words from the question and check several at once.")
    ] = None,
    engine_url: options.EngineUrl = None,
    api_key: options.ApiKey = None,
    why: Annotated[
        Path | None,
        typer.Option(metavar="PNG", help="Save where on the pictures the model looked."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Ask one question and print the answer."""
    from vlmchat.media.choosing import wishes

    overrides = {
        "engine": engine_overrides(
            model=model,
            quant=quant,
            device=device,
            adapter=adapter or None,
            url=engine_url,
            api_key=api_key,
            threads=threads,
            native=native,
        ),
        "sampling": given(
            **{"temperature": temperature, "top_p": top_p, "top_k": top_k, "min_p": min_p},
            **{"repetition_penalty": repetition_penalty, "max_tokens": max_new_tokens},
            **{"seed": seed, "repeat_guard": repeat_guard, "prompt_lookup": prompt_lookup},
        ),
        "chat": given(system=system),
    }
    wished = wishes(fps, max_frames, start, end, frames, detail, crop)
    if why is not None:
        check_why(why, len(attach or []))
    with quiet_endings():
        question = _question(_question_text(prompt), attach or [], wished, overrides)
        raise typer.Exit(asyncio.run(_ask(question, as_json, why)))


def _question(
    text: str, attach: list[Path], wished: "Wishes", overrides: dict[str, dict[str, Any]]
) -> Question:
    """Return the question with its pictures and videos read and the settings applied.

    Raises:
        UsageError: a setting is wrong, or a picture cannot be read.
    """
    from vlmchat.chat.messages import Message, TextPart, VideoPart, user_message
    from vlmchat.cli.asking import Asking
    from vlmchat.media.choosing import attach_as_wished
    from vlmchat.models.looks import known_eyes
    from vlmchat.prompts import resolved
    from vlmchat.settings import load_settings

    settings = load_settings(overrides)
    settings.put_in_force()
    eyes = known_eyes(settings.engine.model)
    parts = []
    for path in attach:
        room = eyes.frames_in_half_the_context if eyes else None
        attached = attach_as_wished(path, wished, settings.media.detail, room)
        parts.append(attached.part)
        for note in attached.notes:
            print(f"“{visible_line(path.name)}”: {note}", file=sys.stderr)
    videos = sum(isinstance(part, VideoPart) for part in parts)
    wished.check(len(parts) - videos, videos)
    messages = [user_message(text, parts)]
    if (system := resolved(settings.chat.system)).strip():
        messages.insert(0, Message("system", (TextPart(system),)))
    return Question(messages, tuple(parts), Asking.of(settings))


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


async def _ask(question: Question, as_json: bool, why: Path | None) -> int:
    from vlmchat.cli.asking import Reply, engine, stream

    reply, asking = Reply(), question.asking
    shown: dict[str, Any] = {}
    problem: VlmchatError | None = None
    async with engine(asking) as (client, info, model):
        if why is not None:
            await check_engine(client)
        await stream(
            *(client, question.messages, asking.sampling, model, reply),
            quiet=as_json,
            videos=info.video,
        )
        text = "".join(reply.pieces)
        if not as_json:
            print("" if text.endswith("\n") else "\n", end="", flush=True)
        if why is not None:
            try:
                found, sentence = await looked(
                    *(client, question.messages, text, model, why), videos=info.video
                )
            except VlmchatError as error:  # the answer shall not be lost for that
                problem = error
                shown = {"why": {"error": str(error)}}
            else:
                shown = {"why": {**found.as_json(), "sentence": sentence, "saved": str(why)}}
                if not as_json:
                    print(visible_line(sentence), file=sys.stderr)
    if as_json:
        row = reply.as_json(info) | {"sent": await asyncio.to_thread(_sent, question, info)}
        print(json.dumps(row | shown, ensure_ascii=False))
    elif reply.finished and reply.finished.finish_reason == "length":
        _say("The answer was cut off at the most tokens allowed (--max-new-tokens).")
    if problem is not None:
        raise problem
    return 0


def _sent(question: Question, served: "ModelInfo") -> list[dict[str, object]]:
    """Return what the model got, as far as it is known here how that one looks."""
    from vlmchat.models.looks import known_eyes, sent_rows

    eyes = known_eyes(served.id, question.asking.model)
    return sent_rows(question.attached, eyes and replace(eyes, video=served.video))


def _say(text: str) -> None:
    """Print a remark where it does not mix with the answer."""
    if sys.stderr.isatty():
        print(text, file=sys.stderr)


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(ask)

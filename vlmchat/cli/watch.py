"""``vlmchat watch``: what a camera, a stream or a film shows, asked again and again."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmchat.cli import looking, options
from vlmchat.cli.endings import quiet_endings
from vlmchat.cli.overrides import engine_overrides, given
from vlmchat.errors import UsageError
from vlmchat.talk.watching import EVERY, PROMPT
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from vlmchat.chat.messages import Detail, Media
    from vlmchat.cli.asking import Asking
    from vlmchat.client.api import EngineClient
    from vlmchat.client.protocol import ModelInfo
    from vlmchat.media.live import LiveSource, Seen

_LOOK = 0.25  # seconds between looks at whether there is something new


@dataclass(slots=True)
class Watching:
    """All that was asked for.

    Attributes:
        source: what is looked at; not opened yet.
        prompt: asked about every frame.
        system: the system prompt; may be empty.
        detail: how finely frames are looked at.
        asking: whom to ask.
        every: seconds from question to question.
        most: questions; ``None`` for no end.
        save: folder that the frames are written to.
        as_json: print a row a question.
    """

    source: "LiveSource"
    prompt: str
    system: str
    detail: "Detail"
    asking: "Asking"
    every: float = EVERY
    most: int | None = None
    save: Path | None = None
    as_json: bool = False


def watch(
    source: Annotated[
        str,
        typer.Argument(help="A camera's number, /dev/video0, rtsp://…, http://…, or a file."),
    ],
    prompt: Annotated[str, typer.Argument(help="What is asked about each frame.")] = PROMPT,
    every: Annotated[
        float, typer.Option(min=0, help="Seconds from question to question; 0 for no pause.")
    ] = EVERY,
    most: Annotated[
        int | None, typer.Option("--max", min=1, help="End after so many questions.")
    ] = None,
    detail: looking.Detail = None,
    save: Annotated[Path | None, typer.Option(help="Folder to write the frames to.")] = None,
    system: options.System = None,
    model: options.Model = None,
    quant: options.Quant = None,
    device: options.Device = None,
    adapter: options.Adapter = None,
    threads: options.Threads = None,
    native: options.Native = None,
    temperature: options.Temperature = None,
    max_new_tokens: options.MaxNewTokens = None,
    seed: options.Seed = None,
    engine_url: options.EngineUrl = None,
    api_key: options.ApiKey = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON row a question.")] = False,
) -> None:
    """Ask about what a camera, a stream or a film shows, every few seconds."""
    if not prompt.strip():
        raise UsageError("There is no question: leave it out to have each frame described.")
    engine = engine_overrides(
        model=model,
        quant=quant,
        device=device,
        adapter=adapter or None,
        url=engine_url,
        api_key=api_key,
        threads=threads,
        native=native,
    )
    sampling = given(temperature=temperature, max_tokens=max_new_tokens, seed=seed)
    overrides = {"engine": engine, "sampling": sampling, "chat": given(system=system)}
    with quiet_endings():
        wanted = _wanted(source, prompt, detail, overrides)
        wanted.every, wanted.most, wanted.save, wanted.as_json = every, most, save, as_json
        raise typer.Exit(asyncio.run(_watch(wanted)))


def _wanted(
    source: str, prompt: str, detail: str | None, overrides: dict[str, dict[str, Any]]
) -> Watching:
    """Return what is wanted, with the settings applied.

    Raises:
        UsageError: a setting or an option is wrong.
    """
    from vlmchat.cli.asking import Asking
    from vlmchat.media.choosing import parse_wished_detail
    from vlmchat.prompts import resolved
    from vlmchat.settings import load_settings

    wished = None if detail is None else parse_wished_detail(detail)
    settings = load_settings(overrides)
    settings.put_in_force()
    used = wished or settings.media.detail
    system = resolved(settings.chat.system).strip()
    return Watching(_source(source, used), prompt, system, used, Asking.of(settings))


def _source(name: str, detail: "Detail") -> "LiveSource":
    from vlmchat.media.live import LiveSource, cameras, longest_edge
    from vlmchat.media.live_names import opening

    def say(sentence: str) -> None:
        print(f"vlmchat: {sentence}", file=sys.stderr, flush=True)

    return LiveSource(opening(name, cameras=cameras), longest_edge(detail), say)


async def _watch(wanted: Watching) -> int:
    from vlmchat.cli.asking import engine

    source = wanted.source
    if wanted.save is not None:
        _make(wanted.save)
    with source:
        await asyncio.to_thread(source.open)
        live = source.opening.kind != "file"
        if live:  # what nobody takes away would pile up while the model loads
            source.start()
        async with engine(wanted.asking) as (client, info, model):
            if not live:
                source.start()
            asked = 0
            async for seen in _frames(source, wanted.every):
                asked += 1
                await _ask(wanted, client, info, model, seen, asked)
                if asked == wanted.most:
                    return 0
    if source.error is not None:
        raise source.error
    return 0


async def _frames(source: "LiveSource", every: float) -> "AsyncIterator[Seen]":
    """Yield what is seen, every so many seconds, until the source ends."""
    number = 0
    due = time.monotonic()
    while not source.ended or number == 0:
        if (wait := due - time.monotonic()) > 0:
            await asyncio.sleep(min(wait, _LOOK))
            continue
        seen = await asyncio.to_thread(source.newest, number, _LOOK)
        if seen is None:
            if source.ended:
                return
            continue
        number = seen.number
        due = time.monotonic() + every
        yield seen


async def _ask(
    wanted: Watching,
    client: "EngineClient",
    info: "ModelInfo",
    model: str,
    seen: "Seen",
    number: int,
) -> None:
    """Ask about one frame, and print what comes back."""
    from vlmchat.chat.messages import Message, TextPart, user_message
    from vlmchat.cli.asking import Reply, stream
    from vlmchat.media.video.plan import clock

    when = datetime.now(UTC)
    picture = await asyncio.to_thread(seen.as_media, wanted.source.opening.title)
    file = await asyncio.to_thread(_save, wanted.save, picture, seen, number)
    messages: list[Message] = [user_message(wanted.prompt, (picture,), wanted.detail)]
    if wanted.system:
        messages.insert(0, Message("system", (TextPart(wanted.system),)))
    reply = Reply()
    if not wanted.as_json:
        print(f"[{clock(seen.time)}] ", end="", flush=True)
    await stream(client, messages, wanted.asking.sampling, model, reply, quiet=wanted.as_json)
    if not wanted.as_json:
        text = "".join(reply.pieces)
        print("" if text.endswith("\n") else "\n", end="", flush=True)
        return
    row: dict[str, Any] = {
        "time": when.isoformat(timespec="milliseconds"),
        "frame_time": round(seen.time, 3),
        "frame": seen.number,
        "width": picture.width,
        "height": picture.height,
        **reply.as_json(info),
    }
    if file is not None:
        row["file"] = str(file)
    print(json.dumps(row, ensure_ascii=False), flush=True)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = visible_line(error.strerror or str(error))
        raise UsageError(
            f"--save: “{visible_line(str(folder))}” cannot be made ({why})."
        ) from error


def _save(folder: Path | None, picture: "Media", seen: "Seen", number: int) -> Path | None:
    """Write the picture that is sent, over none that is there."""
    if folder is None:
        return None
    from vlmchat.cli.saving import frame_name, new_file

    name = Path(frame_name(number, seen.time)).stem
    again = 1
    while True:
        path = folder / (f"{name}.jpg" if again == 1 else f"{name}-{again}.jpg")
        try:
            return new_file(path, picture.data)
        except FileExistsError:
            again += 1
        except OSError as error:
            why = visible_line(error.strerror or str(error))
            raise UsageError(
                f"--save: “{visible_line(str(path))}” cannot be written ({why})."
            ) from error


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(watch)

"""``vlmchat batch``: the same question about many pictures, an answer each as a JSON row."""

import asyncio
import sys
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmchat.cli import looking, options
from vlmchat.cli.endings import quiet_endings
from vlmchat.cli.overrides import engine_overrides, given
from vlmchat.errors import UsageError

if TYPE_CHECKING:
    from vlmchat.batch.rows import Row
    from vlmchat.batch.running import How
    from vlmchat.cli.asking import Asking

_SOME_FAILED = 1


@dataclass(slots=True)
class Batch:
    """All that was asked for."""

    rows: "list[Row]"
    out: Path
    how: "How"
    asking: "Asking"
    in_flight: int


def batch(
    pictures: Annotated[
        list[str],
        typer.Argument(
            metavar="PICS…",
            help="Pictures, videos, folders, patterns in quotes, - for a list on standard input, "
            "or rows.jsonl: rows with image, images, video or videos, and prompt, system, id.",
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="The file of answers; one that was interrupted goes on.")
    ],
    prompt: Annotated[
        str | None, typer.Option("--prompt", "-p", help="What is asked of each picture.")
    ] = None,
    schema: Annotated[
        Path | None, typer.Option(help="A JSON schema: the answers are to be JSON of that shape.")
    ] = None,
    in_flight: Annotated[
        int, typer.Option(min=1, max=1024, help="How many rows are being asked about at once.")
    ] = 16,
    detail: looking.Detail = None,
    fps: looking.Fps = None,
    max_frames: looking.MaxFrames = None,
    frames: looking.Frames = None,
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
    repeat_guard: options.RepeatGuard = None,
    engine_url: options.EngineUrl = None,
    api_key: options.ApiKey = None,
) -> None:
    """Ask the same about many pictures; the answers are rows of a JSONL file, in order.

    Interrupted at any time, the same command goes on where it was. Exit codes: 0 all answered,
    1 some rows have an error, 2 bad usage, 3 the engine failed, 130 Ctrl+C.
    """
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
    sampling |= given(repeat_guard=repeat_guard)
    overrides = {"engine": engine, "sampling": sampling, "chat": given(system=system)}
    from vlmchat.media.choosing import wishes

    wished = wishes(fps, max_frames, None, None, frames, detail)
    with quiet_endings():
        how, asking = _how(overrides, wished, schema)
        rows = _rows(pictures, prompt)
        raise typer.Exit(_run(Batch(rows, out, how, asking, in_flight)))


def _how(
    overrides: dict[str, dict[str, Any]],
    wished: Any,  # noqa: ANN401 - Wishes, whose module is loaded late
    schema: Path | None,
) -> "tuple[How, Asking]":
    """Return how rows are asked, and whom, with the settings applied.

    Raises:
        UsageError: a setting is wrong, or the schema cannot be checked.
    """
    from vlmchat.batch.running import How
    from vlmchat.batch.shapes import Shape
    from vlmchat.cli.asking import Asking
    from vlmchat.models.looks import known_eyes
    from vlmchat.prompts import resolved
    from vlmchat.settings import load_settings

    shape = None if schema is None else Shape.read(schema)
    settings = load_settings(overrides)
    settings.put_in_force()
    eyes, asking = known_eyes(settings.engine.model), Asking.of(settings)
    how = How(
        asking.sampling,
        resolved(settings.chat.system).strip(),
        settings.media.detail,
        wished,
        eyes.frames_in_half_the_context if eyes else None,
        shape,
        patient=asking.url is not None,
    )
    return how, asking


def _rows(pictures: list[str], prompt: str | None) -> "list[Row]":
    from vlmchat.batch.rows import read_rows

    if prompt is not None and not prompt.strip():
        raise UsageError("--prompt is empty: write what is asked of each picture.")
    try:
        listed = sys.stdin.buffer.read().decode("utf-8") if "-" in pictures else ""
    except UnicodeDecodeError:
        raise UsageError("The list on standard input is not UTF-8 text.") from None
    return read_rows(pictures, prompt, listed.split("\n"))


def _run(batch: Batch) -> int:
    """Ask about what has no answer yet."""
    from vlmchat.batch.journal import Journal
    from vlmchat.batch.progress import Progress

    total = len(batch.rows)
    with Journal(batch.out, batch.rows) as journal:
        if journal.done == total:
            _say(f"All {total} rows have their answers already.")
            return _SOME_FAILED if journal.errors else 0
        if journal.done:
            _say(f"Going on behind {journal.done} of {total}.")
        progress: list[Progress] = []
        try:
            asyncio.run(_ask(batch, journal, progress))
        except KeyboardInterrupt:
            _say(f"Stopped behind {journal.done} of {total}: the same command goes on.")
            raise
        finally:
            for one in progress:
                one.end()
        return _SOME_FAILED if journal.errors else 0


async def _ask(batch: Batch, journal: Any, progress: list[Any]) -> None:  # noqa: ANN401 - late
    from vlmchat.batch.journal import digest
    from vlmchat.batch.progress import Progress
    from vlmchat.batch.running import Asker, identity
    from vlmchat.cli.asking import engine

    async with engine(batch.asking) as (client, info, model):
        run = digest(batch.how.decisive() | {"model": identity(info)})
        if journal.run and journal.run != run:
            raise journal.other_settings()
        asker = Asker(client, info, model, batch.how)
        progress.append(Progress(len(batch.rows), journal.done, sys.stderr, errors=journal.errors))
        rest = batch.rows[journal.done :]
        async with aclosing(asker.answers(rest, batch.in_flight)) as answers:
            async for row in answers:
                written = {**row, "model": info.id, "run": run}
                await asyncio.to_thread(journal.append, written)
                progress[0].add(error=row["error"] is not None)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(batch)

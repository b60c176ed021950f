"""``vlmchat find``: pictures for a sentence, sentences for a picture."""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmchat.cli import looking, options
from vlmchat.cli.endings import quiet_endings
from vlmchat.cli.overrides import engine_overrides
from vlmchat.errors import UsageError
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from vlmchat.chat.messages import Detail
    from vlmchat.cli.asking import Asking
    from vlmchat.client.protocol import ModelInfo
    from vlmchat.retrieve.index import FolderIndex
    from vlmchat.retrieve.ranking import Asker, Ranking, Tell

_INDEX_MIB = 4096
_USAGE = 'vlmchat find "a red bicycle" DIR, or vlmchat find --image photo.jpg captions.txt'


@dataclass(slots=True)
class Wanted:
    """All that was asked for.

    Attributes:
        sentence: pictures are looked for that fit it; empty where sentences are.
        folder: that holds the pictures.
        paths: of the pictures, or of the one picture.
        sentences: of which some may fit the picture.
        asking: whom to ask.
        detail: how finely pictures are looked at.
        frames: the most that are taken of a video.
        prompt: what the sentences are answers to.
        index: of the folder.
        first_stage: the model that chooses pictures.
        keep: how many it chooses.
    """

    sentence: str
    folder: Path
    paths: list[Path]
    sentences: list[str]
    asking: "Asking"
    detail: "Detail"
    frames: int
    prompt: str
    index: "FolderIndex | None" = None
    first_stage: str | None = None
    keep: int = 50


def find(
    query: Annotated[
        str | None,
        typer.Argument(
            metavar="SENTENCE", help="What is looked for; with --image a file of sentences, or -."
        ),
    ] = None,
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="Where the pictures and videos are.")
    ] = None,
    image: Annotated[
        Path | None,
        typer.Option("--image", "-i", help="Rank sentences, one a line, for this picture."),
    ] = None,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Look into the folders in DIR, too.")
    ] = False,
    top: Annotated[int, typer.Option("--top", "-k", min=1, help="Show so many.")] = 10,
    prompt: Annotated[
        str | None, typer.Option(help="What the sentences are to be answers to.")
    ] = None,
    detail: looking.Detail = "low",
    max_frames: looking.MaxFrames = None,
    index: Annotated[
        bool,
        typer.Option(
            "--index/--no-index", help="Keep what was seen in DIR/.vlmchat-index, for next time."
        ),
    ] = True,
    first_stage: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="A CLIP or SigLIP model of the Hub's cache, or a folder: it chooses the pictures "
            "that are looked at closely. Never downloaded.",
        ),
    ] = None,
    keep: Annotated[int, typer.Option(min=1, help="So many it chooses.")] = 50,
    model: options.Model = None,
    quant: options.Quant = None,
    device: options.Device = None,
    adapter: options.Adapter = None,
    threads: options.Threads = None,
    native: options.Native = None,
    engine_url: options.EngineUrl = None,
    api_key: options.ApiKey = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Find the pictures that fit a sentence best, or the sentences that fit a picture."""
    if engine_url and first_stage:
        raise UsageError("--first-stage is for the local engine only.")
    if max_frames is not None and max_frames < 1:
        raise UsageError("--max-frames: at least 1 frame is needed.")
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
    with quiet_endings():
        wanted = _wanted(query, folder, image, recursive, detail, max_frames, {"engine": engine})
        wanted.prompt = prompt or wanted.prompt
        wanted.first_stage, wanted.keep = first_stage, max(keep, top)
        if first_stage and wanted.sentences:
            raise UsageError("--first-stage chooses pictures: it has no use with --image.")
        _set_up_index(wanted, index)
        asyncio.run(_find(wanted, top, as_json))


def _wanted(
    query: str | None,
    folder: Path | None,
    image: Path | None,
    recursive: bool,
    detail: str | None,
    frames: int | None,
    overrides: dict[str, dict[str, Any]],
) -> Wanted:
    """Return what is wanted, with the settings applied.

    Raises:
        UsageError: something is missing, or cannot be read.
    """
    from vlmchat.cli.asking import Asking
    from vlmchat.media.choosing import parse_wished_detail
    from vlmchat.retrieve.gathering import media_in, sentences_in
    from vlmchat.retrieve.ranking import FRAMES, PROMPT
    from vlmchat.settings import load_settings

    settings = load_settings(overrides)
    settings.put_in_force()
    rest = (Asking.of(settings), parse_wished_detail(detail or "low"), frames or FRAMES, PROMPT)
    if image is not None:
        if query is None or folder is not None:
            raise UsageError(f"--image wants one file of sentences: {_USAGE}.")
        sentences = sentences_in(_read(query), query)
        return Wanted("", image.absolute().parent, [image], sentences, *rest)
    if not query or not query.strip() or folder is None:
        raise UsageError(f"A sentence and a folder are needed: {_USAGE}.")
    return Wanted(query.strip(), folder, media_in(folder, recursive=recursive), [], *rest)


def _read(name: str) -> bytes:
    if name == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        why = error.strerror or error
        raise UsageError(f"“{visible_line(name)}” cannot be read ({why}).") from error


def _set_up_index(wanted: Wanted, index: bool) -> None:
    """Have the engine keep what it sees; of one picture among sentences nothing is kept."""
    from vlmchat.models.embedding import find_embedder
    from vlmchat.retrieve.index import FolderIndex

    extra = ["--conversations-mib", "64"]  # no two pictures have more than a few words in common
    if index and wanted.sentence and not wanted.asking.url:
        wanted.index, remark = FolderIndex.open(wanted.folder)
        if remark:
            print(f"vlmchat: {remark}", file=sys.stderr)
        extra += ["--pictures-folder", str(wanted.index.features)]
        extra += ["--pictures-disk-mib", str(_INDEX_MIB)]
    if wanted.first_stage:
        extra += ["--embedder", str(find_embedder(wanted.first_stage))]
    started = wanted.asking.engine
    wanted.asking.engine = replace(started, extra=(*started.extra, *extra))


async def _find(wanted: Wanted, top: int, as_json: bool) -> None:
    from vlmchat.cli.found import as_object, show

    began = time.perf_counter()
    try:
        async with _asker(wanted) as (asker, info):
            ranking = await _ranked(wanted, asker)
    finally:  # what was seen before a Ctrl+C is not looked at again
        if wanted.index is not None:
            wanted.index.close()
    for path, why in ranking.skipped:
        print(f"vlmchat: “{visible_line(str(path))}” is left out: {why}", file=sys.stderr)
    seconds = time.perf_counter() - began
    if as_json:
        print(as_object(wanted.sentence or str(wanted.paths[0]), ranking, top, info.id, seconds))
    else:
        await asyncio.to_thread(show, ranking, top)
    if not ranking.found:
        raise UsageError("None of the files could be looked at.")


@contextlib.asynccontextmanager
async def _asker(wanted: Wanted) -> "AsyncIterator[tuple[Asker, ModelInfo]]":
    from vlmchat.cli.asking import engine
    from vlmchat.retrieve.ranking import Asker

    async with engine(wanted.asking) as (client, info, model):
        yield (
            Asker(
                client,
                model,
                wanted.prompt,
                wanted.detail,
                wanted.frames,
                info.video,
                index=wanted.index,
            ),
            info,
        )


async def _ranked(wanted: Wanted, asker: "Asker") -> "Ranking":
    from vlmchat.retrieve.first_stage import nearest
    from vlmchat.retrieve.ranking import pictures_for, sentences_for

    if wanted.sentences:
        with _counting("Reading") as tell:
            return await sentences_for(asker, wanted.paths[0], wanted.sentences, tell)
    paths = wanted.paths
    skipped: list[tuple[Path, str]] = []
    if wanted.first_stage and len(paths) > wanted.keep:
        with _counting("Choosing") as tell:
            paths, skipped = await nearest(asker, wanted.sentence, paths, wanted.keep, tell)
    with _counting("Looking") as tell:
        ranking = await pictures_for(asker, wanted.sentence, paths, tell)
    ranking.skipped = [*skipped, *ranking.skipped]
    return ranking


@contextlib.contextmanager
def _counting(what: str) -> "Iterator[Tell]":
    """Show on standard error how far it is and how long it will take, if that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Remaining())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(find)

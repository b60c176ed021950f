"""What ``vlmchat synth`` does: a set made or drawn, its progress told, its files summed up."""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from vlmchat.cli.endings import INTERRUPTED
from vlmchat.errors import UsageError, VlmchatError
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from vlmchat.cli.asking import Asking
    from vlmchat.client.api import EngineClient
    from vlmchat.synth.asking import EngineAsker
    from vlmchat.synth.drawn import Drawn
    from vlmchat.synth.ledger import Ledger
    from vlmchat.synth.recipe import Kind, Recipe
    from vlmchat.synth.running import Progress
    from vlmchat.synth.summary import Summary
    from vlmchat.synth.texts import Texts

_IN_FLIGHT = 4
_LINE_SECONDS = 10.0  # between two lines where there is no terminal
_NO_ADAPTER = "none"
# Told: a text, how many are done, of how many, and how many of these just now.
_Tell: TypeAlias = Callable[[str, int, int, int], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be made.

    Attributes:
        pictures: their files.
        out: the file of the rows.
        kinds: what is made of each picture.
        recipe: how.
        texts: what is asked with.
        in_flight: pieces of work at a time.
        asking: whom.
    """

    pictures: "Sequence[Path]"
    out: Path
    kinds: "Sequence[Kind]"
    recipe: "Recipe"
    texts: "Texts"
    in_flight: int
    asking: "Asking"


def write_texts(folder: Path) -> None:
    """Write the program's texts into a folder, and say which."""
    from vlmchat.synth.texts import write_all

    for path in write_all(folder):
        print(visible_line(str(path)))


def wanted(
    what: str,
    out: Path,
    overrides: dict[str, dict[str, Any]],
    given: dict[str, Any],
    *,
    kinds: str | None,
    prompts: Path | None,
    detail: str | None,
    in_flight: int | None,
) -> Wanted:
    """Return what is to be made; blocking.

    Raises:
        UsageError: the folder has no pictures, or an option makes no sense.
    """
    from vlmchat.cli.asking import Asking
    from vlmchat.media.choosing import parse_wished_detail
    from vlmchat.settings import load_settings
    from vlmchat.synth import texts
    from vlmchat.synth.recipe import Recipe, parse_kinds
    from vlmchat.synth.running import pictures_in

    settings = load_settings(overrides)
    settings.put_in_force()
    chosen = parse_kinds(kinds) if kinds is not None else ("caption", "qa")
    looks = settings.media.detail if detail is None else parse_wished_detail(detail)
    recipe = Recipe(**{"detail": looks, **given})
    _check(recipe, chosen, given)
    pictures = pictures_in(Path(what).expanduser())
    asked_with = texts.load(prompts)
    at_once = in_flight or _IN_FLIGHT
    return Wanted(pictures, out, chosen, recipe, asked_with, at_once, Asking.of(settings))


def _check(recipe: "Recipe", kinds: "Sequence[Kind]", given: dict[str, Any]) -> None:
    """Refuse what makes no sense together.

    Raises:
        UsageError: something does.
    """
    for name in ("pair_temperatures", "pair_adapters", "judge"):
        if name in given and "preference" not in kinds:
            option = name.replace("_", "-")
            raise UsageError(f"--{option} is about preferences: add them to --kinds.")
    low, high = recipe.pair_temperatures
    if recipe.pair_adapters and "pair_temperatures" in given:
        raise UsageError("--pair-adapters and --pair-temperatures are two ways: take one.")
    if not (0 <= low <= 2 and 0 <= high <= 2) or low == high:
        raise UsageError("--pair-temperatures takes two different ones from 0 to 2.")
    one, other = recipe.pair_adapters or ("", "x")
    if one == other:
        raise UsageError("--pair-adapters takes two different ones.")


# Made -------------------------------------------------------------------------------------------


def make(wanted: Wanted, *, as_json: bool) -> int:
    """Make a set, tell how far it is and what came of it; return the exit code.

    Raises:
        VlmchatError: it cannot be begun, or the engine failed; what was made is kept.
    """
    try:
        _print(asyncio.run(_make(wanted)), as_json)
    except _StoppedError as stopped:
        _print(stopped.summary, as_json)
        if stopped.error is not None:
            raise stopped.error from None
        return INTERRUPTED
    return 0


class _StoppedError(Exception):
    """The person pressed Ctrl+C, or `error` came; the set is as far as `summary` says."""

    def __init__(self, summary: "Summary", error: VlmchatError | None) -> None:
        super().__init__()
        self.summary, self.error = summary, error


async def _make(wanted: Wanted) -> "Summary":
    from vlmchat.cli.asking import engine
    from vlmchat.synth.asking import EngineAsker
    from vlmchat.synth.ledger import Ledger

    async with engine(wanted.asking) as (client, info, model):
        sampling = wanted.asking.sampling
        asker = EngineAsker(client, info, model, sampling, wanted.recipe.detail)
        recipe = wanted.recipe.as_dict()
        recipe |= {"prompts": wanted.texts.digest, **asker.identity}
        async with _adapters(client, wanted.recipe) as adapters:
            named = replace(wanted, recipe=replace(wanted.recipe, pair_adapters=adapters))
            ledger = await asyncio.to_thread(Ledger, wanted.out, recipe)
            with ledger:
                return await _made(named, asker, ledger)


async def _made(wanted: Wanted, asker: "EngineAsker", ledger: "Ledger") -> "Summary":
    from vlmchat.synth.making import Maker
    from vlmchat.synth.running import Run
    from vlmchat.synth.summary import Summary

    maker = Maker(asker, wanted.recipe, wanted.texts)
    common = {"seed": wanted.recipe.seed, "prompts": wanted.texts.digest}
    with _telling() as tell:

        def told(progress: "Progress") -> None:
            text = f"{progress.kept} kept, {progress.dropped} left out"
            tell(text, progress.gone, progress.total, progress.worked)

        run = Run(wanted.pictures, wanted.kinds, maker, ledger, common, told)
        task, failed = asyncio.current_task(), None
        assert task is not None
        try:
            await run.run(wanted.in_flight)
        except VlmchatError as error:
            failed = error
        except asyncio.CancelledError:  # Ctrl+C, as asyncio has it
            task.uncancel()
    progress = run.progress
    finished = progress.gone == progress.total
    summary = Summary.of(
        ledger,
        unreadable=tuple(progress.unreadable),
        same=tuple(progress.same),
        notes=tuple(_notes(wanted, asker)),
        finished=finished,
    )
    if not finished:
        raise _StoppedError(summary, failed)
    return summary


def _notes(wanted: Wanted, asker: "EngineAsker") -> Iterator[str]:
    from vlmchat.synth.running import outside

    if asker.scores is False:
        yield (
            "The engine does not say how likely answers are: none was left out for that, and "
            "judges were asked in words."
        )
    if outside(wanted.pictures, wanted.out):
        yield (
            "Pictures lie outside the folder of the rows: fine-tuning asks before it reads them "
            "(--allow-outside)."
        )


@contextlib.asynccontextmanager
async def _adapters(
    client: "EngineClient", recipe: "Recipe"
) -> AsyncIterator[tuple[str, str] | None]:
    """Yield the names by which the engine knows the adapters of a recipe, loading them.

    A name that an engine elsewhere serves already is asked for as it is; ``none`` is the model
    alone.
    """
    if recipe.pair_adapters is None:
        yield None
        return
    from vlmchat.models.adapter import check_adapter, find_adapter, is_on_shelf

    served = {info.id for info in await client.models()}
    names: list[str] = []
    loaded: list[str] = []
    try:
        for place, spec in enumerate(recipe.pair_adapters):
            if spec == _NO_ADAPTER:
                names.append("")
            elif spec in served and not is_on_shelf(spec):
                names.append(spec)
            else:
                folder = find_adapter(spec)
                check_adapter(folder)
                name = f"synth-{place + 1}-{folder.name}"
                loaded.append((await client.load_adapter(name, folder)).model.id)
                names.append(loaded[-1])
        yield names[0], names[1]
    finally:
        for name in loaded:  # an engine elsewhere goes on without them
            with contextlib.suppress(VlmchatError):
                await client.unload_adapter(name)


# Drawn ------------------------------------------------------------------------------------------


def draw(
    what: str,
    out: Path,
    kind: "Drawn",
    given: dict[str, Any],
    pictures: Path | None,
    *,
    as_json: bool,
) -> int:
    """Draw a set; return the exit code.

    Args:
        what: how many pictures, as it was typed.
        out: the file of the rows.
        kind: of the pictures.
        given: more of the order.
        pictures: their folder; beside the rows if not given.
        as_json: the summary is printed as JSON.

    Raises:
        UsageError: the number is none, or something is in the way.
    """
    from vlmchat.synth.drawn import Order, draw_set, pictures_folder
    from vlmchat.synth.ledger import Ledger
    from vlmchat.synth.summary import Summary

    if not (what.isascii() and what.isdecimal() and 0 < len(what) < 9 and int(what) > 0):
        raise UsageError(f"“{visible_line(what)}” is no number of pictures: --drawn {kind} 100.")
    order = Order(kind, int(what), **given)
    with Ledger(out, order.as_dict(), changeable=("count",)) as ledger, _telling() as tell:
        before, stopped = len(ledger.done), False

        def told(done: int) -> None:
            tell(f"{ledger.kept} rows", done, order.count, max(0, done - before))

        try:
            draw_set(order, pictures or pictures_folder(out), ledger, told)
        except KeyboardInterrupt:
            stopped = True
    _print(Summary.of(ledger, finished=not stopped), as_json)
    return INTERRUPTED if stopped else 0


# Telling ----------------------------------------------------------------------------------------


def _print(summary: "Summary", as_json: bool) -> None:
    if as_json:
        print(json.dumps(summary.as_dict(), ensure_ascii=False))
    else:
        print("\n".join(summary.lines()))
    sys.stdout.flush()


@contextlib.contextmanager
def _telling() -> "Iterator[_Tell]":
    """Yield what shows on standard error how far it is: a bar on a terminal, else now and then."""
    began = last = time.monotonic()
    if not sys.stderr.isatty():

        def line(text: str, done: int, total: int, now: int) -> None:
            nonlocal last
            if time.monotonic() - last >= _LINE_SECONDS:
                last = time.monotonic()
                rest = left(began, done, total, now)
                print(f"{done} of {total}: {text}{rest}", file=sys.stderr, flush=True)

        yield line
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (BarColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)

        def show(text: str, done: int, total: int, now: int) -> None:
            said = f"{done} of {total}: {text}{left(began, done, total, now)}"
            bar.update(task, description=said, completed=done, total=total)

        yield show


def left(began: float, done: int, total: int, now: int) -> str:
    """Return how long it still takes, in words; nothing where that cannot be told.

    Args:
        began: when this run did, as `time.monotonic` has it.
        done: pieces of work that are behind, those of earlier runs among them.
        total: all of them.
        now: those that this run has done.
    """
    if not now or done >= total:
        return ""
    seconds = (time.monotonic() - began) / now * (total - done)
    if seconds < 90:
        return f", about {seconds:.0f} s left"
    return (
        f", about {seconds / 60:.0f} min left"
        if seconds < 5400
        else (f", about {seconds / 3600:.1f} h left")
    )

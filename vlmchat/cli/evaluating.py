"""Who is evaluated from the command line: one model or two, each with its engine."""

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from vlmchat.errors import UsageError
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from vlmchat.cli.asking import Asking
    from vlmchat.client.api import EngineClient
    from vlmchat.client.protocol import ModelInfo, Sampling
    from vlmchat.evaluate.items import EvalSet, Wording
    from vlmchat.evaluate.metrics.registry import Metric
    from vlmchat.evaluate.rows import Head, Row
    from vlmchat.evaluate.running import Asker, Run

Kind: TypeAlias = Literal["saved", "model", "adapter", "base"]
Step: TypeAlias = "Callable[[Row], None]"


@dataclass(frozen=True, slots=True)
class Side:
    """One of those that are compared, or the only one.

    Attributes:
        spec: what the person named; empty for what the options say.
        kind: what that is: a file of saved answers, a model, an adapter over the model of the
            options, or that model without any.
        out: file of its answers; ``None`` keeps them in memory.
    """

    spec: str = ""
    kind: Kind = "model"
    out: Path | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """How questions are put, and to whom.

    Attributes:
        asking: whom the options name.
        sampling: how tokens are chosen.
        wording: how questions are put.
        in_flight: questions that are under way at once.
        metric: for the figure that is shown meanwhile.
    """

    asking: "Asking"
    sampling: "Sampling"
    wording: "Wording"
    in_flight: int
    metric: "Metric"

    def plainly(self) -> dict[str, Any]:
        """Return how questions are put as plain values, for the head of a file of answers."""
        wording = {name: value for name, value in asdict(self.wording).items() if value}
        return wording | self.sampling.as_fields()


def sides_of(compare: tuple[str, str] | None, out: Path | None, remote: bool) -> list[Side]:
    """Return who is evaluated; blocking.

    Args:
        compare: what ``--compare`` names.
        out: what ``--out`` names; two sides have a file each.
        remote: whether an engine elsewhere answers, so that names are those it serves.
    """
    if compare is None:
        return [Side(out=out)]
    outs = [None if out is None else out.with_suffix(f".{place}{out.suffix}") for place in (1, 2)]
    return [Side(spec, _kind(spec, remote), file) for spec, file in zip(compare, outs, strict=True)]


def _kind(spec: str, remote: bool) -> Kind:
    from vlmchat.models.adapter import CONFIG, find_adapter, is_on_shelf

    if Path(spec).is_file():
        return "saved"
    if remote:
        return "model"
    if spec == "base":
        return "base"
    if is_on_shelf(spec) or (find_adapter(spec) / CONFIG).is_file():
        return "adapter"
    return "model"


async def answered(
    sides: Sequence[Side], questions: "EvalSet", wanted: Wanted
) -> "list[tuple[Head, list[Row]]]":
    """Return the answers of each side; those that share a model are asked of one engine.

    Raises:
        VlmchatError: an engine does not start or fails, or a file cannot be read or written.
    """
    from vlmchat.evaluate.rows import read_rows

    found: list[tuple[Head, list[Row]]] = []
    left = list(sides)
    while left:
        if left[0].kind == "saved":
            found.append(await asyncio.to_thread(read_rows, Path(left.pop(0).spec)))
            continue
        together = [left.pop(0)]
        # The model is the same, so that pictures which were looked at once need not be again.
        while left and _shares(together[0], left[0]) and wanted.asking.url is None:
            together.append(left.pop(0))
        found += await _of_one_engine(together, questions, wanted)
    return found


def _shares(one: Side, other: Side) -> bool:
    over = ("adapter", "base")
    return one.kind in over and other.kind in over


async def _of_one_engine(
    sides: Sequence[Side], questions: "EvalSet", wanted: Wanted
) -> "list[tuple[Head, list[Row]]]":
    from vlmchat.cli.asking import engine

    found: list[tuple[Head, list[Row]]] = []
    asking = _asking(sides, wanted.asking)
    async with engine(asking) as (client, info, name):
        for side in sides:
            asker, who = await _asker(side, client, info, name, wanted, alone=len(sides) == 1)
            head = _head(side, who, questions, wanted)
            found.append(await _ask_all(side, asker, head, questions, wanted))
    return found


def _asking(sides: Sequence[Side], asking: "Asking") -> "Asking":
    """Return whom to ask: the engine that suits the sides."""
    from vlmchat.models.adapter import find_adapter

    side = sides[0]
    if side.kind == "model":
        if not side.spec:
            return asking
        options = replace(asking.engine, model=side.spec, adapter=None)
        return replace(asking, engine=options, model=side.spec)
    alone = len(sides) == 1 and side.kind == "adapter"
    adapter = str(find_adapter(side.spec)) if alone else None
    return replace(asking, engine=replace(asking.engine, adapter=adapter))


async def _asker(
    side: Side,
    client: "EngineClient",
    info: "ModelInfo",
    name: str,
    wanted: Wanted,
    *,
    alone: bool,
) -> "tuple[Asker, ModelInfo]":
    from vlmchat.evaluate.running import Asker
    from vlmchat.models.adapter import find_adapter

    if alone:  # a local engine is asked for no name: it answers with what it began with
        return Asker(client, wanted.sampling, name, None, info.video), info
    if side.kind == "base":
        return Asker(client, wanted.sampling, info.id, None, info.video), info
    folder = find_adapter(side.spec)
    loaded = await client.load_adapter(folder.name, folder, replace=True)
    return Asker(client, wanted.sampling, "", folder.name, info.video), loaded.model


def _head(side: Side, who: "ModelInfo", questions: "EvalSet", wanted: Wanted) -> "Head":
    from vlmchat.evaluate.rows import Head

    adapter = who.adapter or (who.id if who.parent else "")
    return Head(
        questions.name,
        questions.kind,
        wanted.metric.name,
        side.spec or _label(who),
        who.parent or who.id,
        who.revision,
        who.quantization,
        adapter,
        wanted.plainly(),
    )


def _label(who: "ModelInfo") -> str:
    adapter = who.adapter.rpartition("@")[0] or who.adapter
    return f"{who.title} + {adapter}" if adapter else who.title


async def _ask_all(
    side: Side, asker: "Asker", head: "Head", questions: "EvalSet", wanted: Wanted
) -> "tuple[Head, list[Row]]":
    from vlmchat.evaluate.rows import Journal
    from vlmchat.evaluate.running import Run

    journal = await asyncio.to_thread(Journal, side.out, head) if side.out else None
    try:
        with _counting(head.label, len(questions.items), wanted.metric) as step:
            run = Run(questions.items, wanted.wording, asker, wanted.in_flight, journal, step)
            await _told(run, side)
    finally:
        if journal is not None:
            journal.close()
    return head, run.answered()


async def _told(run: "Run", side: Side) -> None:
    """Carry a run out; say what is kept of one that breaks off."""
    try:
        await run.run()
    except BaseException:
        if side.out is not None and run.rows:
            shown = visible_line(str(side.out))
            print(
                f"{len(run.rows):,} answers are in {shown}: the same command goes on there.",
                file=sys.stderr,
            )
        raise


@contextlib.contextmanager
def _counting(label: str, total: int, metric: "Metric") -> "Iterator[Step]":
    """Yield what is told each row; on a terminal a bar shows how far it is, and the figure."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figure]}", markup=False),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    running = Running(metric)
    with bar:
        task = bar.add_task(visible_line(label), total=total, figure="")

        def step(row: "Row") -> None:
            bar.update(task, advance=1, figure=running.told(row))

        yield step


class Running:
    """The figure while a run goes on."""

    def __init__(self, metric: "Metric") -> None:
        self._metric = metric
        self._sum, self._count = 0.0, 0

    def told(self, row: "Row") -> str:
        """Take a row, and return the figure so far; of CIDEr nothing, which needs the whole set."""
        if self._metric.name == "cider":
            return ""
        [score] = self._metric.scores([row.judged])
        self._sum += 0.0 if row.error else score
        self._count += 1
        return f"{100 * self._sum / self._count:.1f}"


def checked(questions: "EvalSet", metric: "Metric") -> None:
    """Check before anything is asked that every question can be scored.

    Raises:
        UsageError: one cannot.
    """
    if not questions.items:
        raise UsageError("There is no question in the set.")
    for item in questions.items:
        metric.check(item.question, item.answers, item.options)

"""A start of the training: from a checkpoint or from nothing, with its workers."""

import math
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import torch

from vlmchat.demo.training import (
    exporting,
    loop,
    marks,
    numerics,
    pictures,
    processes,
    state,
    warm,
)
from vlmchat.demo.training.adapter import Adapter
from vlmchat.demo.training.captioning import SlotTrainer
from vlmchat.demo.training.curriculum import Ladder
from vlmchat.demo.training.language import LanguageTrainer
from vlmchat.demo.training.loop import Leader
from vlmchat.demo.training.optimizers import Optimizers
from vlmchat.demo.training.processes import Link
from vlmchat.demo.training.reading import ReadingTrainer
from vlmchat.demo.training.schedule import Schedule
from vlmchat.demo.training.settings import SINGLES, Settings
from vlmchat.demo.training.state import Checkpoint, State
from vlmchat.demo.training.tower import Shape, Tower
from vlmchat.demo.training.words import Words
from vlmchat.errors import UsageError

_LOOKED_AT = 16  # drawings of each kind that the patch filters are fitted to

Begun: TypeAlias = tuple[Tower | Adapter, State, dict[str, torch.Tensor]]
"""What is trained, where the run is, and the optimizers' state."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a start is to do.

    Attributes:
        work: folder of the run.
        phase: 1 (the tower, by captions), 2 (the adapter) or 3 (the tower, by answers).
        model: folder of a built demo model, for its text model.
        settings: all of them.
        minutes: of training; 0 for as long as nobody stops it.
        cooldown: minutes at the end in which the rates sink.
        steps: of the phase, over all starts, with which it ends; 0 for any number.
        source: what to begin with where there is no checkpoint: a tower; in phase 2 an adapter, and
            the tower to read from where phase 1 has trained none in this folder.
        nice: give way to everything else on the machine.
    """

    work: Path
    phase: int
    model: Path
    settings: Settings
    minutes: float
    cooldown: float
    steps: int
    source: Path | None
    nice: bool


def train(plan: Plan) -> None:
    """Train as planned; returns when the time is up or somebody stopped it.

    Raises:
        VlmchatError: there is nothing to go on from, or no room for a checkpoint.
    """
    plan.work.mkdir(parents=True, exist_ok=True)
    loop.modest(plan.nice)
    settings = numerics.settled(plan.settings)
    plan = replace(plan, settings=settings)
    begun = beginning(plan)  # says what is wrong before any worker starts
    workers = settings.run.workers if settings.run.device == "cpu" else 1
    if workers == 1:
        with _listening() as stopped:
            work(processes.alone(), plan, stopped, begun)
        return
    numbers = sum(parameter.numel() for parameter in begun[0].parameters())
    link, others = processes.together(workers, numbers, work, (plan,))
    try:
        with _listening() as stopped:
            work(link, plan, stopped, begun)
    finally:
        for other in others:
            other.join(timeout=10)
            other.kill()


def work(
    link: Link,
    plan: Plan,
    stopped: Callable[[], bool] = lambda: False,
    begun: Begun | None = None,
) -> None:
    """Be one worker of a start.

    Args:
        link: to the others.
        plan: the same at all.
        stopped: at the leader, whether somebody asked for the end.
        begun: at the leader, what it begins with, which it gives to the others.
    """
    settings = plan.settings
    if link.workers > 1:
        torch.set_num_threads(1)
    trained, at, optimizer = begun or _awaiting(plan)
    trained.to(settings.run.device)
    rates = settings.optimizer
    optimizers = Optimizers(
        trained,
        rates,
        (1.0, rates.second_phase, rates.third_phase)[plan.phase - 1],
        link.worker,
        link.workers,
        link.share,
        numerics.dtype(settings.run),
    )
    if optimizer:
        optimizers.restore(optimizer)
    lessons = _lessons(plan, trained)
    leader = _leader(plan, lessons.kinds, at, stopped) if link.worker == 0 else None
    loop.run(link, lessons, trained, optimizers, leader, settings, at, plan.work)


def _lessons(plan: Plan, trained: Tower | Adapter) -> loop.Lessons:
    words = Words(plan.model)
    if isinstance(trained, Adapter):
        own = state.path(plan.work, 1)
        tower = _seeing(plan, own if own.exists() else _source(plan))
        tower = tower.to(plan.settings.run.device).requires_grad_(False)
        return ReadingTrainer(trained, tower, words, plan.settings)
    if plan.phase == 1:
        return SlotTrainer(trained, words, plan.settings)
    return LanguageTrainer(trained, words, plan.settings, _laid(plan, words))


def _laid(plan: Plan, words: Words) -> Adapter | None:
    """Return the adapter that phase 2 has trained, if it has."""
    file = state.path(plan.work, 2)
    if not file.exists():
        return None
    adapter = state.read(file).laid(words.config["text_config"])
    return adapter.to(plan.settings.run.device).requires_grad_(False)


def _leader(plan: Plan, kinds: tuple[str, ...], at: State, stopped: Callable[[], bool]) -> Leader:
    settings, seconds = plan.settings, plan.minutes * 60
    climb, first = settings.curriculum, plan.phase == 1
    ladder = Ladder(
        kinds,
        climb,
        climb.bar if first else climb.answers_bar,
        climb.seen if first else climb.answers_seen,
    )
    named = () if first else [f"task/{task}" for task in settings.language.tasks]
    tasks = Ladder(named, climb, climb.answers_bar, climb.answers_seen, level=1.0)
    for one in (ladder, tasks):
        one.restore(at.ladder)
    schedule = Schedule(
        settings.optimizer.warmup_steps,
        settings.optimizer.steady_steps,
        seconds if seconds > 0 else math.inf,
        plan.cooldown * 60,
        settings.optimizer.floor,
        plan.steps if plan.steps > 0 else math.inf,
    )
    return Leader(plan.work, settings, schedule, ladder, tasks, at, stopped)


@contextmanager
def _listening() -> Iterator[Callable[[], bool]]:
    """Give what tells whether SIGTERM or Ctrl-C has come, and have them end nothing else."""
    event = threading.Event()
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda *_: event.set()) for number in numbers]
    try:
        yield event.is_set
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def beginning(plan: Plan) -> Begun:
    """Return what is trained as it begins, where the run is, and the optimizers' state.

    Raises:
        UsageError: the weights to begin with are of another shape, or there are none.
    """
    own = state.path(plan.work, plan.phase)
    torch.manual_seed(plan.settings.run.seed)
    if plan.phase == 2:
        return _reader(plan)
    if own.exists():
        found = _read(plan, own)
        return _asked(found.made()), found.state, found.optimizer
    if plan.phase == 1 and plan.source is None:
        return _asked(fresh(plan.settings.tower)), State(plan.phase), {}
    return _seeing(plan, _source(plan)), State(plan.phase, ladder=_levels(plan)), {}


def _reader(plan: Plan) -> Begun:
    """Return the same of phase 2."""
    own, config = state.path(plan.work, 2), Words(plan.model).config["text_config"]
    if not own.exists():
        source = _source(plan)  # says now what is missing, before any worker does
        level, kinds = plan.settings.reading.level, plan.settings.curriculum.asked
        ladder = {kind: [level, 0.0, 0, 0] for kind in kinds}
        adapter = exporting.load_adapter(source, config)
        rank = plan.settings.reading.rank
        if adapter is not None and adapter.rank != rank:
            raise UsageError(
                f"The adapter of {source.name} has rank {adapter.rank}, the settings say {rank}: "
                "give the settings that it was trained with, or weights without an adapter."
            )
        return adapter or Adapter(config, rank), State(2, ladder=ladder), {}
    found = _read(plan, own)
    return found.laid(config), found.state, found.optimizer


def _read(plan: Plan, file: Path) -> Checkpoint:
    """Return a checkpoint to go on from.

    Raises:
        UsageError: it has other shapes than the settings say.
    """
    found = state.read(file)
    rank = int(found.settings.get("reading", {}).get("rank", plan.settings.reading.rank))
    if found.shape != plan.settings.tower or rank != plan.settings.reading.rank:
        raise UsageError(
            f"{file.name} is of a tower or an adapter of another shape than the settings': give "
            "the settings that it began with, or another folder."
        )
    return found


def _source(plan: Plan) -> Path:
    """Return where a phase begins: at another checkpoint, or at a folder of weights.

    Raises:
        UsageError: there is none.
    """
    source = plan.source or state.path(plan.work, 1)
    if not source.exists():
        raise UsageError(
            f"Phase {plan.phase} goes on from phase 1, and there is no {source.name}: run phase 1 "
            "first, or name weights with --from."
        )
    return source


def _seeing(plan: Plan, source: Path) -> Tower:
    """Return the tower that a phase begins with, or reads from."""
    return _asked(warm.resampled(exporting.load(source), plan.settings.tower))


def _levels(plan: Plan) -> dict[str, Any]:
    """Return a ladder on the levels that a tower has reached; one of another shape begins anew."""
    source = _source(plan)
    if exporting.load(source).shape != plan.settings.tower:
        return {}
    return {kind: [level, 0.0, 0, 0] for kind, level in exporting.levels(source).items()}


def _asked(tower: Tower) -> Tower:
    """Return the tower with the layer beside that asks patches; weights alone have none."""
    if tower.aside is None or tower.aside.out_features != marks.OUTPUTS:
        tower.aside = torch.nn.Linear(tower.shape.hidden, marks.OUTPUTS)
    return tower


def _awaiting(plan: Plan) -> Begun:
    """Return the same for a worker that will be given the leader's weights."""
    if plan.phase == 2 or state.path(plan.work, plan.phase).exists():
        return beginning(plan)
    return _asked(Tower(plan.settings.tower)), State(plan.phase), {}


def fresh(shape: Shape) -> Tower:
    """Return a tower with weights from nothing, its patch filters fitted to what is drawn."""
    tower = Tower(shape)
    batches = [pictures.held_out(kind, _LOOKED_AT).pixels for kind in SINGLES]
    warm.whiten(tower, torch.cat(batches))
    return tower

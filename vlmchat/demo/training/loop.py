"""The training loop that every worker runs: draw, learn, meet, step."""

import contextlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Protocol

import torch

from vlmchat.demo.drawing.examples import seeded
from vlmchat.demo.training import state
from vlmchat.demo.training.adapter import Adapter
from vlmchat.demo.training.curriculum import Ladder, Wanted
from vlmchat.demo.training.optimizers import Optimizers
from vlmchat.demo.training.processes import Link
from vlmchat.demo.training.reports import Report, merged
from vlmchat.demo.training.schedule import Schedule
from vlmchat.demo.training.settings import Settings
from vlmchat.demo.training.state import State
from vlmchat.demo.training.tower import Tower

LOG = "log.jsonl"


class Lessons(Protocol):
    """What a phase does in a step."""

    kinds: tuple[str, ...]

    def step(self, random: Random, wanted: Wanted) -> Report:
        """Add to the gradients what is to be learned, and tell how it went."""

    def measure(self, worker: int, workers: int) -> Report:
        """Tell how this worker's part of what is never trained on goes."""


@dataclass(frozen=True, slots=True)
class Order:
    """What the leader decides at a step.

    Attributes:
        factor: what the rates are multiplied with.
        wanted: what is drawn and asked next.
        measure: whether all measure after the step.
        keep: whether a checkpoint is written after it.
        stop: whether it is the last one.
    """

    factor: float
    wanted: Wanted
    measure: bool
    keep: bool
    stop: bool


class Leader:
    """Decides for all workers, keeps the log and the curriculum.

    Args:
        work: folder of the run.
        settings: all of them.
        schedule: of the rates.
        ladder: the curriculum.
        tasks: how far the questions of each task are answered, by ``task/`` and its name.
        at: where the run is; changed as it goes on.
        stopped: whether somebody asked for the end.
    """

    def __init__(
        self,
        work: Path,
        settings: Settings,
        schedule: Schedule,
        ladder: Ladder,
        tasks: Ladder,
        at: State,
        stopped: Callable[[], bool],
    ) -> None:
        self._log = work / LOG
        self._settings = settings
        self._schedule = schedule
        self.ladder = ladder
        self._tasks = tasks
        self.at = at
        self._stopped = stopped
        self._began = self._last = time.monotonic()
        self._kept = self._measured = self._began
        self._since: list[Report] = []
        self._before = (at.images, at.seconds)

    def orders(self, *, factor: float = 1.0, stop: bool = False) -> Order:
        """Return what is drawn by the curriculum as it is, with nothing else to do."""
        levels = {kind: self.ladder.level(kind) for kind in self.ladder.kinds}
        wanted = Wanted(self.ladder.weights(), levels, self._tasks.needs())
        return Order(factor, wanted, False, False, stop)

    def decide(self, reports: list[Report]) -> Order:
        """Take in how a step went at all workers, and decide what comes next."""
        whole, now, run = merged(reports), time.monotonic(), self._settings.run
        for ladder in (self.ladder, self._tasks):
            for name in ladder.kinds:
                if (score := whole.scores.get(name)) and score.count:
                    ladder.saw(name, score.right, score.whole, score.count)
        factor = self._schedule.factor(self.at.step, now - self._began)
        self.at.step += 1
        self.at.images += whole.images
        self.at.seconds += now - self._last
        self.at.ladder = self.ladder.plain() | self._tasks.plain()
        self._last = now
        self._since.append(whole)
        if self.at.step % run.log_steps == 0:
            self._tell(factor)
        over = self._schedule.over(self.at.step, now - self._began)
        stop = over or self._stopped()
        measure = over or now - self._measured >= run.evaluate_minutes * 60
        keep = stop or measure or now - self._kept >= run.checkpoint_minutes * 60
        if measure:
            self._measured = now
        if keep:
            self._kept = now
        return Order(factor, self.orders().wanted, measure, keep, stop)

    def measured(self, reports: list[Report]) -> None:
        """Log what was measured."""
        self._last = time.monotonic()  # measuring is no training time
        found = merged(reports)
        self._write({"event": "measured", **self._where(), **found.plain()})

    def _tell(self, factor: float) -> None:
        images, seconds = self._before
        spent = max(1e-9, self.at.seconds - seconds)
        rate = (self.at.images - images) / spent
        self._before = (self.at.images, self.at.seconds)
        levels = {kind: progress.level for kind, progress in self.ladder.kinds.items()}
        self._write(
            {
                "event": "step",
                **self._where(),
                "rate": round(rate, 2),
                "factor": round(factor, 4),
                **merged(self._since).plain(),
                "levels": levels,
            }
        )
        self._since = []

    def _where(self) -> dict[str, object]:
        return {
            "phase": self.at.phase,
            "step": self.at.step,
            "images": self.at.images,
            "seconds": round(self.at.seconds, 1),
        }

    def _write(self, line: dict[str, object]) -> None:
        text = json.dumps(line)
        with self._log.open("a", encoding="utf-8") as file:
            file.write(text + "\n")
        print(text, flush=True)


def run(
    link: Link,
    lessons: Lessons,
    trained: Tower | Adapter,
    optimizers: Optimizers,
    leader: Leader | None,
    settings: Settings,
    at: State,
    work: Path,
) -> None:
    """Train until the leader says that it is enough.

    Args:
        link: to the other workers.
        lessons: what a step learns.
        trained: what changes.
        optimizers: change it.
        leader: at worker 0.
        settings: all of them.
        at: where the run is; of the leader's it is the same object.
        work: folder of the run.
    """
    step = at.step
    parameters = list(trained.parameters())
    link.follow(parameters)
    order = link.meet(None, lambda _: _first(leader))
    while not order.stop:
        random = seeded(f"phase {at.phase}", "train", settings.run.seed, step * 64 + link.worker)
        report = lessons.step(random, order.wanted)
        link.put([_gradient(parameter) for parameter in parameters])
        order = link.meet(report, lambda reports: _decided(leader, reports))
        link.mean(parameters)
        optimizers.step(order.factor)
        step += 1
        if order.measure:
            found = lessons.measure(link.worker, link.workers)
            link.meet(found, lambda reports: _measured(leader, reports))
        if order.keep and leader is not None:
            state.write(work, leader.at, settings.plain(), trained, optimizers.state())


def _gradient(parameter: torch.nn.Parameter) -> torch.Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def _first(leader: Leader | None) -> Order:
    assert leader is not None
    return leader.orders()


def _decided(leader: Leader | None, reports: list[Report]) -> Order:
    assert leader is not None
    return leader.decide(reports)


def _measured(leader: Leader | None, reports: list[Report]) -> None:
    assert leader is not None
    leader.measured(reports)


def modest(nice: bool) -> None:
    """Give way to everybody else on this machine, where it knows how.

    Linux may share the processors between sessions first and looks at niceness only inside one
    (``sched_autogroup``). A run that leads a session of its own (``setsid``) has that give way.
    """
    if not nice or not hasattr(os, "nice"):
        return
    os.nice(19)
    group = Path("/proc/self/autogroup")
    if os.getsid(0) == os.getpid() and group.exists():
        with contextlib.suppress(OSError):
            group.write_text("19")

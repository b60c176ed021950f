"""Reads along with a job: its curves, its figures, where it is."""

import time
from collections import deque
from typing import TYPE_CHECKING

from vlmchat.talk.finetuning.summary import time_words
from vlmchat.text import human_bytes

if TYPE_CHECKING:
    from vlmchat.finetune.events import Checkpoint, Ended, Error, Event, Started, Step
    from vlmchat.finetune.job import Job, JobState

_RECENT = 30
_TAIL = 64 * 1024


class JobWatch:
    """A job as its folder tells of it; `update` reads on, everything else is at hand.

    Args:
        job: that exists.

    Attributes:
        state: as `Job.state` says it.
        alive: a trainer holds the job.
        training: step and training loss, in order.
        validation: step, validation loss, and whether it was the best so far.
        samples: for each validation row its answers: step and text, in order.
        started: what the trainer began with.
        last: the last step.
        checkpoint: the last one.
        ended: how it ended.
        error: why it ended.
    """

    def __init__(self, job: "Job") -> None:
        self.job = job
        self.state: JobState = "prepared"
        self.alive = False
        self.training: list[tuple[int, float]] = []
        self.validation: list[tuple[int, float, bool]] = []
        self.samples: dict[int, list[tuple[int, str]]] = {}
        self.started: Started | None = None
        self.last: Step | None = None
        self.checkpoint: Checkpoint | None = None
        self.ended: Ended | None = None
        self.error: Error | None = None
        self._tail = job.events()
        self._turn: Event | None = None
        self._before: Step | None = None
        self._paces: deque[float] = deque(maxlen=_RECENT)

    def update(self) -> bool:
        """Read what is new; false when nothing is; blocking."""
        # Asked first: a trainer that ends between the two has told so by then.
        alive = self.job.alive()
        events = self._tail.new()
        for event in events:
            self._take(event)
        state = self._state(alive)
        changed = bool(events) or state != self.state or alive != self.alive
        self.state, self.alive = state, alive
        return changed

    def _take(self, event: "Event") -> None:
        if event.event in ("started", "paused", "resumed", "ended", "error"):
            self._turn = event
            self._before = None  # a pause is no pace
        match event.event:
            case "started":
                self._begin(event)
            case "step":
                self._step(event)
            case "validation":
                if event.loss is not None:
                    self.validation.append((event.step, event.loss, event.best))
            case "sample":
                self.samples.setdefault(event.index, []).append((event.step, event.text))
            case "checkpoint":
                self.checkpoint = event
            case "ended":
                self.ended = event
            case "error":
                self.error = event

    def _begin(self, event: "Started") -> None:
        """Forget what a run that goes on after a kill takes again."""
        self.started, self.ended, self.error = event, None, None
        kept = event.from_step
        self.training = [item for item in self.training if item[0] <= kept]
        self.validation = [item for item in self.validation if item[0] <= kept]
        for index, said in self.samples.items():
            self.samples[index] = [item for item in said if item[0] <= kept]
        if self.last is not None and self.last.step > kept:
            self.last = None

    def _step(self, event: "Step") -> None:
        if self._before is not None and event.step > self._before.step:
            passed = event.time - self._before.time
            self._paces.append(passed / (event.step - self._before.step))
        self._before = self.last = event
        if event.loss is not None:
            self.training.append((event.step, event.loss))

    def _state(self, alive: bool) -> "JobState":
        turn = self._turn
        if alive:
            return "paused" if turn is not None and turn.event == "paused" else "running"
        if turn is None:
            return "prepared"
        if turn.event == "ended":
            return "finished" if turn.reason in ("finished", "early") else "stopped"
        if turn.event == "error":
            return "failed"
        return "paused" if turn.event == "paused" else "dead"

    # What it comes to -------------------------------------------------------------------------

    @property
    def step(self) -> int:
        """The last step that was taken."""
        if self.last is not None:
            return self.last.step
        return self.started.from_step if self.started is not None else 0

    @property
    def steps(self) -> int:
        """The steps there are; 0 while unknown."""
        return self.started.steps if self.started is not None else 0

    @property
    def share(self) -> float:
        """How far it is, from 0 to 1."""
        return min(1.0, self.step / self.steps) if self.steps else 0.0

    @property
    def seconds_left(self) -> float | None:
        """How long it will take, by the pace of the last steps; ``None`` while unknown."""
        if not self._paces or not self.steps or self.state != "running":
            return None
        from statistics import median

        return median(self._paces) * (self.steps - self.step)

    @property
    def result(self) -> bool:
        """Whether it ended with an adapter."""
        return self.ended is not None and self.ended.reason != "cancelled"

    def where(self) -> str:
        """Return where it is on one line."""
        parts = [self._state_word()]
        if self.steps:
            parts.append(f"step {self.step:,} of {self.steps:,} ({self.share:.0%})")
        if self.last is not None:
            parts.append(f"epoch {self.last.epoch:.3g}")
        left = self.seconds_left
        if left is not None:
            parts.append(f"{time_words(left)} left")
        return " · ".join(parts)

    def _state_word(self) -> str:
        if self.state == "running" and (self.started is None or self._turn_is_old):
            return "loading"
        if self.ended is not None:
            early = {"early": "stopped early: no longer better", "cancelled": "cancelled"}
            return early.get(self.ended.reason, self.state)
        words = {"dead": "left by its trainer", "failed": "failed", "prepared": "not started yet"}
        return words.get(self.state, self.state)

    @property
    def _turn_is_old(self) -> bool:
        return self._turn is not None and self._turn.event in ("ended", "error")

    def figures(self) -> str:
        """Return rate, gradient, speed and memory on one line."""
        last = self.last
        if last is None:
            return ""
        parts = [f"learning rate {last.learning_rate:.2g}"]
        if last.grad_norm is not None:
            parts.append(f"gradient {last.grad_norm:.2g}")
        if last.tokens_per_second:
            parts.append(f"{last.tokens_per_second:,.0f} tokens/s")
        if last.memory:
            parts.append(human_bytes(last.memory))
        return " · ".join(parts)

    def losses(self) -> str:
        """Return the last losses and checkpoint on one line."""
        parts = []
        if self.training:
            parts.append(f"loss {self.training[-1][1]:.4g}")
        if self.validation:
            best = min(self.validation, key=lambda item: item[1])
            now = f"validation {self.validation[-1][1]:.4g}"
            parts.append(f"{now} (best {best[1]:.4g}, step {best[0]:,})")
        if self.checkpoint is not None:
            parts.append(f"checkpoint {self.checkpoint.step:,}")
        return " · ".join(parts)

    def label(self) -> str:
        """Return a few words for a status line; empty when nothing is being done."""
        if self.state == "paused":
            return "tuning paused"
        return f"tuning {self.share:.0%}".replace("%", " %") if self.state == "running" else ""

    def log_tail(self, lines: int = 200) -> str:
        """Return the last lines of the job's log; blocking."""
        try:
            with self.job.log_file.open("rb") as file:
                file.seek(0, 2)
                file.seek(max(0, file.tell() - _TAIL))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])


def age_words(seconds: float) -> str:
    """Return how long ago a moment was."""
    return f"{time_words(max(1.0, time.time() - seconds))} ago"

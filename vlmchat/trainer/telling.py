"""What a run tells, and how it obeys: the bridge between transformers' loop and the job folder."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

import psutil
import torch
from transformers import TrainerCallback, TrainerControl, TrainerState

from vlmchat.finetune.events import (
    Checkpoint,
    Event,
    EventWriter,
    Paused,
    Resumed,
    Sample,
    Started,
    Step,
    Validation,
    read_events,
    valid,
)
from vlmchat.finetune.files import JobError
from vlmchat.finetune.job import Job, Request
from vlmchat.finetune.settings import RunSettings
from vlmchat.trainer.checkpoints import WholeCheckpoints, name_of

Ending: TypeAlias = Literal["early", "stopped", "cancelled", "left"]
_POLL_SECONDS = 0.2
_PLAIN = ("loss", "learning_rate", "grad_norm", "epoch", "num_tokens")


class Telling(TrainerCallback):
    """Writes events, keeps the best checkpoint in mind, and does what the job is asked.

    Args:
        job: that is carried out.
        writer: of its events; ``None`` in all processes but the first.
        settings: of the run.
        started: the first event, without its steps.
        samples: returns what the model now answers to validation prompts after a step.

    Attributes:
        ending: why the run ends before its last step; ``left`` for one to be gone on with.
        best: step and validation loss of the best measurement.
        trainer: set when it exists; its checkpoints are rotated around the best.
    """

    trainer: WholeCheckpoints

    def __init__(
        self,
        job: Job,
        writer: EventWriter | None,
        settings: RunSettings,
        started: Started,
        samples: Callable[[int], list[Sample]],
    ) -> None:
        self.job = job
        self.ending: Ending | None = None
        self.best: tuple[int, float] | None = None
        self.asked_to_leave = False
        self._writer = writer
        self._settings = settings
        self._started = started
        self._samples = samples
        self._requests = job.requests()
        self._since_best = 0
        self._pausing = False
        self._evaluated = -1
        self._logged = 0
        self._began = 0.0
        self._seconds = 0.0
        self._tokens = 0
        self._tokens_before = 0

    def _tell(self, event: Event) -> None:
        if self._writer is not None:
            self._writer.write(event)

    # What happens -----------------------------------------------------------------------------

    def on_train_begin(
        self, args: object, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Tell that it begins, and remember what was before."""
        self._remember(state.global_step)
        self._tell(
            self._started.model_copy(
                update={
                    "time": time.time(),
                    "steps": state.max_steps,
                    "from_step": state.global_step,
                }
            )
        )

    def _remember(self, step: int) -> None:
        """Take the best measurement and the tokens of the run up to `step` from its events."""
        self._logged = self._evaluated = step
        for event in valid(read_events(self.job.events_file)):
            if isinstance(event, Validation) and event.step <= step and event.loss is not None:
                self._measured(event.step, event.loss)
            elif isinstance(event, Step) and event.step <= step:
                self._tokens_before = event.tokens

    def on_step_begin(
        self, args: object, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Start the watch."""
        self._began = time.perf_counter()

    def on_step_end(
        self, args: object, state: TrainerState, control: TrainerControl, **_: object
    ) -> TrainerControl:
        """Obey, and measure once more at the very end."""
        self._seconds = time.perf_counter() - self._began
        self._obey(control)
        ends = control.should_training_stop or state.global_step >= state.max_steps
        if ends and self._started.validation_rows and self.ending not in ("cancelled", "left"):
            control.should_evaluate = self._evaluated != state.global_step
        return control

    def on_log(
        self,
        args: object,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **_: object,
    ) -> None:
        """Tell a step.

        Raises:
            JobError: the loss is no number.
        """
        if not logs or "loss" not in logs or state.global_step <= self._logged:
            return
        self._logged = state.global_step
        tokens = self._tokens_before + int(logs.get("num_tokens", 0))
        new, self._tokens = tokens - max(self._tokens, self._tokens_before), tokens
        loss = float(logs["loss"])
        self._tell(
            Step(
                step=state.global_step,
                epoch=float(state.epoch or 0.0),
                loss=loss,
                learning_rate=float(logs.get("learning_rate", 0.0)),
                grad_norm=_number(logs.get("grad_norm")),
                tokens=tokens,
                tokens_per_second=max(new, 0) / self._seconds if self._seconds > 0 else 0.0,
                memory=_memory(self._started.device),
                metrics=_metrics(logs),
            )
        )
        if not math.isfinite(loss):
            raise JobError(
                f"The loss is no number any more after step {state.global_step}: prepare the job "
                "again with a lower learning rate."
            )

    def on_evaluate(
        self,
        args: object,
        state: TrainerState,
        control: TrainerControl,
        metrics: Mapping[str, Any] | None = None,
        **_: object,
    ) -> TrainerControl:
        """Tell a measurement and what the model answers, and stop where nothing is gained."""
        step = self._evaluated = state.global_step
        found = {key.removeprefix("eval_"): value for key, value in (metrics or {}).items()}
        loss = _number(found.get("loss"))
        best = loss is not None and math.isfinite(loss) and self._measured(step, loss)
        self._tell(Validation(step=step, loss=loss, best=best, metrics=_metrics(found)))
        if best:
            control.should_save = True
        for sample in self._samples(step):
            self._tell(sample)
        patience = self._settings.patience
        if patience is not None and self._since_best >= patience and self.ending is None:
            self.ending = "early"
            control.should_training_stop = True
        return control

    def _measured(self, step: int, loss: float) -> bool:
        if self.best is None or loss < self.best[1]:
            self.best, self._since_best = (step, loss), 0
            self.trainer.best_step = step
            return True
        self._since_best += 1
        return False

    def on_save(
        self, args: object, state: TrainerState, control: TrainerControl, **_: object
    ) -> TrainerControl:
        """Tell a checkpoint, and wait where a pause was asked for."""
        step = state.global_step
        best = self.best is not None and self.best[0] == step
        self._tell(Checkpoint(step=step, name=name_of(step), best=best))
        if self._pausing:
            self._pausing = False
            self._tell(Paused(step=step))
            while (request := self._shared(self._requests.new())) in (None, "pause"):
                if self._shared_flag(self.asked_to_leave):
                    self.ending = "left"
                    control.should_training_stop = True
                    return control
                time.sleep(_POLL_SECONDS)
            self._tell(Resumed(step=step))
            self._end(request, control)
        return control

    # What is asked ----------------------------------------------------------------------------

    def _obey(self, control: TrainerControl) -> None:
        if self._shared_flag(self.asked_to_leave):
            self.ending = "left"
            control.should_save = control.should_training_stop = True
            return
        request = self._shared(self._requests.new())
        if request == "pause":
            self._pausing = True
            control.should_save = True
        else:
            self._end(request, control)

    def _end(self, request: Request | None, control: TrainerControl) -> None:
        if request == "stop":
            self.ending = "stopped"
        elif request == "cancel":
            self.ending = "cancelled"
        else:
            return
        control.should_training_stop = True

    def _shared(self, request: Request | None) -> Request | None:
        """Return what the first process was asked, in all of them."""
        if self._started.processes == 1:
            return request
        from accelerate.utils import broadcast_object_list

        found: list[Request | None] = [request]
        broadcast_object_list(found)
        return found[0]

    def _shared_flag(self, flag: bool) -> bool:
        if self._started.processes == 1:
            return flag
        from accelerate.utils import gather_object

        return any(gather_object([flag]))


def _number(value: Any) -> float | None:  # noqa: ANN401 - of transformers' logs
    return None if value is None else float(value)


def _metrics(logs: Mapping[str, Any]) -> dict[str, float | None]:
    return {
        key: float(value)
        for key, value in logs.items()
        if key not in _PLAIN and isinstance(value, int | float)
    }


def _memory(device: str) -> int:
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated())
    return int(psutil.Process().memory_info().rss)

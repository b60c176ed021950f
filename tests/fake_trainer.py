"""Stands in for ``python -m vlmchat.trainer JOB``: it speaks the same protocol, and learns nothing.

It takes its steps as fast as it is told to, waits at a step until a file is there, and obeys what
is asked of it meanwhile.
"""

import argparse
import json
import math
import sys
import time
from pathlib import Path

from vlmchat.finetune.events import (
    Checkpoint,
    Ended,
    Error,
    Event,
    EventWriter,
    Paused,
    Resumed,
    Sample,
    Started,
    Step,
    Validation,
    read_events,
)
from vlmchat.finetune.job import Job

BEGAN = 1_700_000_000.0


def training_loss(step: int) -> float:
    """Return a loss that falls, and trembles."""
    return 0.3 + 2.2 * math.exp(-step / 15) + 0.06 * math.sin(3 * step)


def validation_loss(step: int) -> float:
    """Return a loss that is best in the middle."""
    return 0.5 + 2.2 * math.exp(-step / 15) + 0.004 * step


def write_adapter(folder: Path) -> None:
    """Write the smallest thing that is an adapter's folder."""
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    weights = len(header).to_bytes(8, "little") + header + bytes(4)
    (folder / "adapter_model.safetensors").write_bytes(weights)


class Trainer:
    """One run."""

    def __init__(self, job: Job, options: argparse.Namespace, events: EventWriter) -> None:
        self.job, self.options, self.events = job, options, events
        self.requests = job.requests()
        self.step = 0

    def tell(self, event: Event) -> None:
        self.events.write(event.model_copy(update={"time": BEGAN + 2 * self.step}))

    def asked(self) -> str | None:
        """Obey what was asked; return how it ends, if it does."""
        request = self.requests.new()
        if request == "pause":
            self.tell(Paused(step=self.step))
            while request not in ("resume", "stop", "cancel"):
                time.sleep(0.01)
                request = self.requests.new()
            self.tell(Resumed(step=self.step))
        return {"stop": "stopped", "cancel": "cancelled"}.get(request or "")

    def run(self) -> str:
        before = [event for event in read_events(self.job.events_file) if event.event == "step"]
        begin = max((event.step for event in before), default=0)
        start = begin - begin % 5
        self.step = start
        self.tell(
            Started(
                steps=self.options.steps,
                rows=8,
                validation_rows=2,
                parameters=1_234,
                from_step=start,
            )
        )
        for step in range(start + 1, self.options.steps + 1):
            self.take(step)
            while step == self.options.hold_at and not (self.job.folder / "go").exists():
                if how := self.asked():
                    return how
                time.sleep(0.01)
            if how := self.asked():
                return how
            if step == self.options.fail_at:
                raise RuntimeError
            time.sleep(self.options.pace)
        return "finished"

    def take(self, step: int) -> None:
        self.step = step
        self.tell(
            Step(
                step=step,
                epoch=3 * step / self.options.steps,
                loss=training_loss(step),
                learning_rate=1e-4 * (1 - step / self.options.steps),
                grad_norm=0.8,
                tokens=100 * step,
                tokens_per_second=512.0,
                memory=1_200_000_000,
            )
        )
        if step % 5 == 0:
            self.tell(Validation(step=step, loss=validation_loss(step), best=step <= 40))
            for index in range(2):
                self.tell(Sample(step=step, index=index, text=f"[b]answer[/] {step // 10}"))
            self.tell(Checkpoint(step=step, name=f"step-{step}", best=step <= 40))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--pace", type=float, default=0.0)
    parser.add_argument("--hold-at", type=int, default=0)
    parser.add_argument("--fail-at", type=int, default=0)
    parser.add_argument("job", type=Path)
    options = parser.parse_args()
    job = Job(options.job)
    print("fake trainer [red]log[/red]", file=sys.stderr)
    with job.hold(), EventWriter(job.events_file) as events:
        trainer = Trainer(job, options, events)
        try:
            how = trainer.run()
        except RuntimeError:
            trainer.tell(Error(message="The memory did not suffice [for this]: choose batch 1."))
            return
        if how != "cancelled":
            write_adapter(job.adapter)
        best = trainer.step - trainer.step % 5
        ended = {"reason": how, "step": trainer.step, "best_step": best or None}
        trainer.tell(Ended.model_validate({**ended, "loss": validation_loss(best)}))


if __name__ == "__main__":
    main()

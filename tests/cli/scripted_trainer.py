"""A trainer that trains nothing: it tells of steps, obeys requests, and leaves a small adapter.

``python -m tests.cli.scripted_trainer JOB [--device …]``, as `vlmchat.finetune.process` calls it.
``SCRIPT_STEPS`` says how many steps there are, ``SCRIPT_HOLD`` at which it waits until it is asked
for something, ``SCRIPT_FAIL`` at which it fails, ``SCRIPT_DIE`` at which it is killed.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from vlmchat.finetune.events import (
    Checkpoint,
    Ended,
    EndReason,
    Error,
    EventWriter,
    Paused,
    Resumed,
    Sample,
    Started,
    Step,
    Validation,
)
from vlmchat.finetune.job import Job, Requests


def at(name: str) -> int:
    return int(os.environ.get(name, "0"))


def run(job: Job, events: EventWriter, requests: Requests) -> None:
    spec, steps = job.spec(), at("SCRIPT_STEPS") or 4
    done = sorted(job.checkpoints.iterdir())
    first = int(done[-1].name) if done else 0
    events.write(
        Started(steps=steps, rows=spec.rows, validation_rows=spec.validation_rows, from_step=first)
    )
    for step in range(first + 1, steps + 1):
        loss = 2.0 / step
        events.write(
            Step(step=step, epoch=step / 2, loss=loss, learning_rate=1e-4, tokens_per_second=100.0)
        )
        if step % 2 == 0:
            events.write(Validation(step=step, loss=loss, best=True))
            events.write(Sample(step=step, index=0, text=f"[b]A circle\x1b[31m {step}"))
            (job.checkpoints / f"{step:04}").mkdir()
            events.write(Checkpoint(step=step, name=f"{step:04}", best=True))
        if step == at("SCRIPT_FAIL"):
            events.write(Error(message="The disk is full: make room."))
            return
        if step == at("SCRIPT_DIE") and not first:
            os.kill(os.getpid(), 9)
        asked = requests.new()
        while step == at("SCRIPT_HOLD") and asked is None:
            time.sleep(0.02)
            asked = requests.new()
        if asked == "pause":
            events.write(Paused(step=step))
            while (asked := requests.new()) is None:
                time.sleep(0.02)
            events.write(Resumed(step=step))
        if asked in ("stop", "cancel"):
            reason: EndReason = "stopped" if asked == "stop" else "cancelled"
            return finish(job, events, reason, step)
    finish(job, events, "finished", steps)
    return None


def finish(job: Job, events: EventWriter, reason: EndReason, step: int) -> None:
    if reason != "cancelled":
        job.adapter.mkdir()
        config = {"peft_type": "LORA", "base_model_name_or_path": job.spec().base.id}
        (job.adapter / "adapter_config.json").write_text(json.dumps(config))
        save_file({"a": np.zeros(2, np.float32)}, job.adapter / "adapter_model.safetensors")
    events.write(Ended(reason=reason, step=step, best_step=step, loss=2.0 / step))


def main() -> None:
    job = Job(Path(sys.argv[1]))
    print("arguments:", *sys.argv[2:], flush=True)
    with job.hold(), EventWriter(job.events_file) as events:
        run(job, events, job.requests())


if __name__ == "__main__":
    main()

"""Checkpoints that are there whole or not at all.

transformers writes a checkpoint's files into its final folder one by one; a kill in between leaves
half a checkpoint that a resumed run would take. Here they are written into a folder beside it,
made durable, and only then given their name.
"""

import contextlib
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from transformers import Trainer

from vlmchat.finetune.files import JobError, sync_folder
from vlmchat.finetune.job import Job

STAGING = ".writing"
_NAME = re.compile(r"checkpoint-(\d+)")
_KEPT = 2  # of the newest; the best one stays besides
# What a run goes on from. transformers also writes its arguments (as a pickle, which nobody shall
# ever load), the tokenizer, and a card that says nothing.
_NEEDED = ("adapter_", "optimizer", "scheduler", "scaler", "rng_state", "trainer_state")


def name_of(step: int) -> str:
    """Return the name of the checkpoint after `step`."""
    return f"checkpoint-{step}"


def steps(job: Job) -> list[int]:
    """Return the steps of whole checkpoints, the oldest first."""
    try:
        names = [path.name for path in job.checkpoints.iterdir() if path.is_dir()]
    except OSError:
        return []
    return sorted(int(match[1]) for name in names if (match := _NAME.fullmatch(name)))


def last(job: Job) -> Path | None:
    """Return the newest whole checkpoint."""
    found = steps(job)
    return job.checkpoints / name_of(found[-1]) if found else None


def clean(job: Job) -> None:
    """Remove what a kill left half written."""
    shutil.rmtree(job.checkpoints / STAGING, ignore_errors=True)


def publish(job: Job, step: int) -> Path:
    """Give a checkpoint that was written into the staging folder its name.

    Raises:
        OSError: the disk is full.
    """
    staged, target = job.checkpoints / STAGING / name_of(step), job.checkpoints / name_of(step)
    for path in sorted(staged.rglob("*")):
        if path.is_file() and not path.name.startswith(_NEEDED):
            path.unlink()
        elif path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    sync_folder(staged)
    if target.exists():  # of an attempt before the run was resumed from an earlier one
        shutil.rmtree(target)
    staged.rename(target)
    sync_folder(job.checkpoints)
    clean(job)
    return target


def rotate(job: Job, best: int | None) -> None:
    """Remove old checkpoints: the newest two stay, and that of the step `best`."""
    found = steps(job)
    for step in found[:-_KEPT]:
        if step != best:
            path = job.checkpoints / name_of(step)
            gone = path.with_name(f".{path.name}.gone")
            with contextlib.suppress(OSError):
                path.rename(gone)  # first, so that no half of it is ever taken for a whole
                shutil.rmtree(gone, ignore_errors=True)


class WholeCheckpoints(Trainer):
    """A trainer of transformers whose checkpoints appear whole.

    Attributes:
        job: whose checkpoints they are.
        best_step: the step whose checkpoint is kept whatever its age; set by whoever knows.
    """

    job: Job
    best_step: int | None = None
    _saving = False

    def _get_output_dir(self, trial: Any) -> str:  # noqa: ANN401 - of the base class
        if self._saving:
            return str(self.job.checkpoints / STAGING)
        return str(super()._get_output_dir(trial))

    def create_model_card(self, *_: object, **__: object) -> None:
        """Write no card: the shelf has one that is true."""

    def _send_telemetry(self) -> None:
        """Tell nobody anything."""

    def _save_checkpoint(self, model: Any, trial: Any) -> None:  # noqa: ANN401 - of the base class
        step, main = int(self.state.global_step), bool(self.args.should_save)
        if main:
            clean(self.job)
        self._saving = True
        try:
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            if main:
                publish(self.job, step)
                rotate(self.job, self.best_step)
            self.accelerator.wait_for_everyone()
        except Exception as error:
            if main:
                clean(self.job)
            if told := _about_disk(self.job, step, error):
                raise told from error
            raise
        finally:
            self._saving = False


def _about_disk(job: Job, step: int, error: Exception) -> JobError | None:
    """Return the sentence for a checkpoint that found no room; ``None`` if it was not that."""
    text = " ".join(_chain(error))
    # safetensors and PyTorch raise errors of their own, with the system's words in them or none.
    if not re.search(r"[Nn]o space|ENOSPC|[Qq]uota|File too large|PytorchStreamWriter", text):
        return None
    there = last(job)
    kept = f"{there.name} is intact" if there else "there is none before it"
    return JobError(
        f"The disk is full: the checkpoint after step {step} was not written, and {kept}; make "
        "room and resume the job."
    )


def _chain(error: BaseException) -> Iterable[str]:
    at: BaseException | None = error
    while at is not None:
        yield f"{type(at).__name__} {at}"
        at = at.__cause__ or at.__context__

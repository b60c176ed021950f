"""Starting a trainer: a process of its own, which outlives whoever started it."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence

from vlmchat.errors import UsageError
from vlmchat.finetune.files import JobError, told
from vlmchat.finetune.job import Job

COMMAND: tuple[str, ...] = (sys.executable, "-m", "vlmchat.trainer")
_DONE = ("finished", "stopped")
_START_SECONDS = 20.0


def start(job: Job, *, command: Sequence[str] = COMMAND, arguments: Sequence[str] = ()) -> None:
    """Start the trainer of a job, which goes on from its last checkpoint if it has one; blocking.

    It is no child of ours that would have to be waited for, keeps no terminal, and writes what
    the libraries print into the job's log. It returns when the trainer holds the job.

    Args:
        job: prepared, paused, failed, or left by a trainer that was killed.
        command: the trainer.
        arguments: what it is told besides the job folder, as ``--device``.

    Raises:
        UsageError: the job is running or done.
        JobError: the trainer did not come up; the sentence names the log.
    """
    state = job.state()
    if job.alive():
        raise UsageError(f"The job “{job.id}” is running already.")
    if state in _DONE:
        raise UsageError(f"The job “{job.id}” is done: prepare a new one.")
    job.clear_requests()
    # PyTorch's and the Hub's libraries ask nobody and tell nobody anything.
    quiet = {
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_DATASETS_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
    }
    with told(f"The job “{job.id}” cannot be started"), job.log_file.open("ab") as log:
        # A process between the two ends at once, so that nobody is left to be waited for.
        between = subprocess.Popen(
            (*_DETACHED, *command, str(job.folder), *arguments),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **quiet},
            start_new_session=True,
        )
    between.wait()
    _wait_until_held(job)


# Starts what stands behind it, and ends.
_DETACHED = (
    sys.executable,
    "-c",
    "import subprocess, sys; subprocess.Popen(sys.argv[1:], start_new_session=True)",
)


def _wait_until_held(job: Job) -> None:
    """Return when a trainer holds the job, or has told how it ended."""
    before = len(job.events().new())
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if job.alive() or len(job.events().new()) > before:
            return
        time.sleep(0.05)
    raise JobError(f"The trainer did not start: the reason is at the end of {job.log_file}.")

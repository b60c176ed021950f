"""A job followed from the command line until it ends, or the person has seen enough."""

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from vlmchat.cli.endings import INTERRUPTED
from vlmchat.cli.tuning_voices import Voice, note
from vlmchat.errors import UsageError, VlmchatError
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from vlmchat.finetune.job import Job
    from vlmchat.talk.finetuning.watching import JobWatch

_LOOK_SECONDS = 0.2
_TERMINATED = 143
# What Ctrl+C does: ends the run and keeps the best adapter, or only ends the looking on.
CtrlC: TypeAlias = Literal["stop", "leave"]
_HINTS: dict[CtrlC, str] = {
    "stop": "Ctrl+C stops it and keeps the best adapter so far.",
    "leave": "Ctrl+C only stops looking on; the job goes on.",
}


class Signals:
    """Counts Ctrl+C, and remembers being told to end."""

    def __init__(self) -> None:
        self.interrupts = 0
        self.terminated = False

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        self.interrupts += 1

    def _terminate(self, _number: int, _frame: FrameType | None) -> None:
        self.terminated = True

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Take the signals while the block runs."""
        before = {
            signal.SIGINT: signal.signal(signal.SIGINT, self._interrupt),
            signal.SIGTERM: signal.signal(signal.SIGTERM, self._terminate),
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def start(job: "Job", arguments: Sequence[str]) -> None:
    """Start the trainer of a job; blocking.

    Args:
        job: prepared, or one that can be gone on with.
        arguments: what the trainer is told besides.

    Raises:
        UsageError: it is running or done.
        JobError: the trainer did not come up.
    """
    from vlmchat.finetune import process

    process.start(job, command=process.COMMAND, arguments=arguments)


def started(job: "Job", arguments: Sequence[str], voice: Voice, *, detach: bool) -> int:
    """Start a job and follow it, unless it shall be left alone; return the exit code."""
    voice.job(job)
    if detach:
        start(job, arguments)
        note(f"It goes on by itself: {_watch_words(job)} shows it.")
        return 0
    return follow(job, voice, "stop", lambda: start(job, arguments))


def follow(
    job: "Job", voice: Voice, ctrl_c: CtrlC, begin: Callable[[], None] = lambda: None
) -> int:
    """Follow a job until it ends, put its result on the shelf, and return the exit code.

    Args:
        job: whose trainer runs, or is started by `begin`.
        voice: is told what happens.
        ctrl_c: what Ctrl+C does.
        begin: starts the trainer.

    Raises:
        VlmchatError: the run failed, was killed, or left no adapter.
    """
    from vlmchat.talk.finetuning.watching import JobWatch

    signals, watch = Signals(), JobWatch(job)
    try:
        with signals.caught():
            begin()
            with voice.running(_HINTS[ctrl_c]):
                left = _until_over(job, watch, voice, ctrl_c, signals)
            if not left:
                _over(job, watch, voice)
    except BrokenPipeError:
        if job.alive():
            note(f"Nobody reads on; the job goes on: {_watch_words(job)} shows it.")
        raise
    if left:
        note(f"The job goes on: {_watch_words(job)} shows it, --stop ends it.")
    if signals.terminated:
        return _TERMINATED
    return INTERRUPTED if signals.interrupts else 0


def _until_over(
    job: "Job", watch: "JobWatch", voice: Voice, ctrl_c: CtrlC, signals: Signals
) -> bool:
    """Tell of a job until its trainer is gone; return whether it was left before."""
    tail, asked = job.events(), False
    while True:
        watch.update()
        for event in tail.new():
            voice.event(event, watch)
        voice.moment(watch)
        if not watch.alive:
            return False
        if signals.interrupts and not asked and ctrl_c == "stop":
            asked = True
            job.ask("stop")
            note("Stopping, the best adapter so far is kept; Ctrl+C again does not wait for it.")
        if signals.terminated or signals.interrupts > (1 if ctrl_c == "stop" else 0):
            return True
        time.sleep(_LOOK_SECONDS)


def _over(job: "Job", watch: "JobWatch", voice: Voice) -> None:
    """Put the result on the shelf.

    Raises:
        VlmchatError: there is none.
    """
    from vlmchat.finetune.adopting import adopt_once

    name = visible_line(job.id)
    if watch.state == "failed" and watch.error is not None:
        raise VlmchatError(
            f"The job “{name}” failed: {visible_line(watch.error.message)} The log is "
            f"{visible_line(str(job.log_file))}."
        )
    if watch.state == "paused":
        note(f"The job “{name}” waits with a checkpoint: {_resume_words(job)} goes on with it.")
        return
    if watch.state in ("dead", "prepared"):
        raise VlmchatError(
            f"The trainer of “{name}” is gone: {_resume_words(job)} goes on from its last "
            "checkpoint."
        )
    if not watch.result:
        raise VlmchatError(f"The job “{name}” was cancelled: there is no adapter.")
    adapter = adopt_once(job)
    if adapter is None:
        note("Its adapter was on the shelf, and was deleted there.")
    else:
        voice.adapter(adapter, job)


def _watch_words(job: "Job") -> str:
    return f"vlmchat finetune --watch {visible_line(job.id)}"


def _resume_words(job: "Job") -> str:
    return f"vlmchat finetune --resume {visible_line(job.id)}"


# Jobs that are there ---------------------------------------------------------------------------


def watch_job(name: str, voice: Voice) -> int:
    """Look on while a job runs, or tell how it ended; return the exit code."""
    job = _found(name)
    if job.state() == "prepared":
        raise UsageError(f"The job “{visible_line(job.id)}” was not started: {_resume_words(job)}.")
    voice.job(job)
    return follow(job, voice, "leave")


def resume_job(name: str, voice: Voice, arguments: Sequence[str], *, detach: bool) -> int:
    """Go on with a job, from its last checkpoint if its trainer is gone; return the exit code."""
    job = _found(name)
    if not job.alive():
        return started(job, arguments, voice, detach=detach)
    if job.state() != "paused":
        raise UsageError(
            f"The job “{visible_line(job.id)}” is running already: {_watch_words(job)} shows it."
        )
    job.ask("resume")
    voice.job(job)
    if detach:
        return 0
    return follow(job, voice, "stop")


def ask_job(
    name: str, request: Literal["stop", "pause", "cancel"], voice: Voice, *, detach: bool
) -> int:
    """Ask a running job for something, and wait until it is done; return the exit code."""
    job = _found(name)
    if not job.alive():
        raise UsageError(f"The job “{visible_line(job.id)}” is not running: it is {job.state()}.")
    job.ask(request)
    if detach:
        return 0
    if request == "stop":
        voice.job(job)
        return follow(job, voice, "leave")
    while job.alive() and (request == "cancel" or job.state() != "paused"):
        time.sleep(_LOOK_SECONDS)
    note(f"The job “{visible_line(job.id)}” is {job.state()}.")
    return 0


def _found(name: str) -> "Job":
    from vlmchat.finetune.files import JobError
    from vlmchat.finetune.job import open_job

    try:
        job = open_job(name)
        job.spec()
    except JobError as error:
        raise UsageError(str(error)) from None
    return job


def list_them(*, as_json: bool) -> None:
    """Print the jobs, the newest first."""
    from vlmchat.talk.finetuning.following import all_watches

    watches = all_watches()
    rows = [_row(watch) for watch in watches]
    if as_json:
        print(json.dumps(rows, ensure_ascii=False, indent=1))
        return
    if not rows:
        note("There is no job.")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("job", "state", "step", "loss", "method", "base", "made"):
        table.add_column(heading, justify="right" if heading in ("step", "loss") else "left")
    for row in rows:
        steps = f"{row['step']:,}/{row['steps']:,}" if row["steps"] else "–"
        loss = row["validation_loss"] if row["validation_loss"] is not None else row["loss"]
        shown = (row["id"], row["state"], steps, "–" if loss is None else f"{loss:.4g}")
        texts = (*shown, row["method"], _short(row["base"]), row["age"])
        table.add_row(*(Text(visible_line(text), no_wrap=True) for text in texts))
    console = Console(highlight=False)
    # A pipe has no width, and rows are not to be cut there.
    console.print(table, width=None if console.is_terminal else 200)


def _short(base: str) -> str:
    return base.rstrip("/").rpartition("/")[2]


def _row(watch: "JobWatch") -> dict[str, Any]:
    from vlmchat.talk.finetuning.watching import age_words

    spec = watch.job.spec()
    losses = [loss for _, loss, best in watch.validation if best]
    return {
        "id": watch.job.id,
        "state": watch.state,
        "step": watch.step,
        "steps": watch.steps,
        "loss": watch.training[-1][1] if watch.training else None,
        "validation_loss": losses[-1] if losses else None,
        "method": spec.settings.method,
        "adapter": spec.settings.adapter,
        "base": spec.base.id,
        "rows": spec.rows,
        "created": spec.created,
        "age": age_words(spec.created),
        "folder": str(watch.job.folder),
    }


def flush() -> None:
    """Write what is still held back, where a reader that has gone does no harm."""
    sys.stdout.flush()

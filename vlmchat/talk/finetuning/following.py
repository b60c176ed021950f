"""Stays with the jobs that run, while the chat goes on: what they do, and how they end."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from vlmchat.errors import VlmchatError
from vlmchat.talk.finetuning.watching import JobWatch
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from vlmchat.finetune.job import Job
    from vlmchat.finetune.shelf import Adapter
    from vlmchat.talk.front import Front

POLL_SECONDS = 1.0
_UNLOADED = "The model was unloaded while a job is trained: /restart brings it back at once."


class Following:
    """Follows the jobs of this machine.

    Args:
        front: is told what happens.
        spawn: runs a coroutine in the background.
        changed: called when `label` is another one.

    Attributes:
        label: what a job is doing, for a status line; empty for nothing.
    """

    def __init__(
        self,
        front: "Front",
        spawn: "Callable[[Coroutine[Any, Any, None]], object]",
        changed: Callable[[], object] = lambda: None,
    ) -> None:
        self._front = front
        self._spawn = spawn
        self._changed = changed
        self._watches: dict[str, JobWatch] = {}
        self._loop_runs = False
        self._unloaded = False
        self.label = ""

    # The beginning ----------------------------------------------------------------------------

    def begin(self) -> None:
        """Look for jobs that run, were left, or ended while no chat was open."""
        self._spawn(self._look())

    async def _look(self) -> None:
        try:
            said = await asyncio.to_thread(self._found)
        except VlmchatError:
            return  # /jobs says it to whoever asks for them
        for sentence in said:
            self._front.notice(sentence)
        self._go_on()

    def _found(self) -> list[str]:
        """Return what there is to say of the jobs; blocking."""
        from vlmchat import paths

        if not (paths.data_dir() / "jobs").is_dir():
            return []
        from vlmchat.finetune.adopting import is_adopted

        said: list[str] = []
        left: list[JobWatch] = []
        for watch in all_watches():
            name = visible_line(watch.job.id)
            if watch.alive:
                self._watches[watch.job.id] = watch
                said.append(
                    f"The job “{name}” is being trained ({watch.where()}): /finetune shows it."
                )
            elif watch.state == "dead":
                left.append(watch)
            elif watch.result and not is_adopted(watch.job):
                try:
                    said.append(_ended_words(watch, _adopted(watch.job)))
                except VlmchatError as error:
                    said.append(f"The result of the job “{name}” cannot be used: {error}")
        if left:
            name = visible_line(left[0].job.id)
            more = f", and {len(left) - 1} more" if len(left) > 1 else ""
            said.append(
                f"The job “{name}” was left by its trainer at step {left[0].step:,}{more}: "
                f"/jobs {name} opens it, to go on from the last checkpoint."
            )
        return said

    # What runs --------------------------------------------------------------------------------

    @property
    def running(self) -> "Job | None":
        """The job that runs, if one does: the newest."""
        return next((watch.job for watch in self._watches.values()), None)

    async def start(self, job: "Job", *, unload: bool = False) -> None:
        """Start a job's trainer, and stay with it.

        Args:
            job: prepared, paused, failed, or left.
            unload: the engine's model leaves the memory while the job is trained.

        Raises:
            UsageError: it is running or done.
            JobError: the trainer did not come up.
        """
        if unload:
            session = self._front.session
            session.stop()
            await session.engine.unload(_UNLOADED)
            self._unloaded = True
        try:
            await asyncio.to_thread(_start, job, _arguments(self._front))
        except VlmchatError:
            self._load_again()
            raise
        self.follow(job)

    def follow(self, job: "Job") -> None:
        """Stay with a job that runs."""
        self._watches = {job.id: JobWatch(job), **self._watches}
        self._go_on()

    def _go_on(self) -> None:
        if self._watches and not self._loop_runs:
            self._loop_runs = True
            self._spawn(self._watch())

    async def _watch(self) -> None:
        try:
            while self._watches:
                for watch in list(self._watches.values()):
                    await asyncio.to_thread(watch.update)
                    if not watch.alive:
                        self._watches.pop(watch.job.id, None)
                        await self._over(watch)
                self._say_label()
                if self._watches:
                    await asyncio.sleep(POLL_SECONDS)
        finally:
            self._loop_runs = False

    def _say_label(self) -> None:
        label = next((watch.label() for watch in self._watches.values()), "")
        if label != self.label:
            self.label = label
            self._changed()

    async def _over(self, watch: JobWatch) -> None:
        """Say how a job ended, and keep its result."""
        if not self._watches:
            self._load_again()
        try:
            await asyncio.to_thread(watch.update)
            adapter = await asyncio.to_thread(_adopted, watch.job) if watch.result else None
        except VlmchatError as error:
            self._front.notice(str(error), "error")
            return
        self._front.notice(
            _ended_words(watch, adapter), "error" if watch.state in ("failed", "dead") else "note"
        )

    def _load_again(self) -> None:
        if self._unloaded:
            self._unloaded = False
            if self._front.session.engine.status.stage == "unloaded":
                self._front.session.engine.restart()


def _start(job: "Job", arguments: Sequence[str]) -> None:
    from vlmchat.finetune import process

    process.start(job, command=process.COMMAND, arguments=arguments)


def _arguments(front: "Front") -> tuple[str, ...]:
    settings = front.engine_changer.settings
    chosen = settings.engine.device if settings else "auto"
    return () if chosen == "auto" else ("--device", chosen)


def _adopted(job: "Job") -> "Adapter | None":
    from vlmchat.finetune.adopting import adopt_once

    return adopt_once(job)


def _ended_words(watch: JobWatch, adapter: "Adapter | None") -> str:
    name = visible_line(watch.job.id)
    if watch.state == "failed" and watch.error is not None:
        said = visible_line(watch.error.message)
        return f"The job “{name}” has ended with an error: {said} /jobs {name} shows its log."
    if watch.state == "dead":
        return f"The trainer of “{name}” is gone: /jobs {name} opens it, to go on."
    if not watch.result or watch.ended is None:
        how = "waits with a checkpoint: /jobs goes on with it" if watch.state == "paused" else ""
        return f"The job “{name}” {how or 'was cancelled: there is no adapter'}."
    return f"The job “{name}” is done{result_words(watch)}: {use_words(adapter)}"


def result_words(watch: JobWatch) -> str:
    """Return what a job came to, in brackets; empty when nothing was measured."""
    ended = watch.ended
    if ended is None:
        return ""
    parts = [f"step {ended.best_step or ended.step:,}"]
    if ended.loss is not None:
        parts.append(f"validation loss {ended.loss:.4g}")
    return f" ({', '.join(parts)})"


def use_words(adapter: "Adapter | None") -> str:
    """Return how the result of a job is used."""
    if adapter is None:
        return "its adapter is on the shelf no more."
    name = visible_line(adapter.name)
    return f"/adapter {name} answers with what it has learned, /adapter off without."


def all_watches() -> list[JobWatch]:
    """Return all jobs, the newest first, each as it stands; blocking.

    Raises:
        JobError: the folder of the jobs cannot be read.
    """
    from vlmchat.finetune.job import list_jobs

    found = [JobWatch(job) for job in list_jobs()]
    for watch in found:
        watch.update()
    return found

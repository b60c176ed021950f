"""From data to a job, one step after another, whoever shows them.

First `Finetuning.read`, as often as the data is asked for otherwise; then `Finetuning.plan` after
each change of the settings; then `Finetuning.create`, whose job `Following.start` starts.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from vlmchat.errors import UsageError
from vlmchat.talk.finetuning.memory import free_memory, memory_of

if TYPE_CHECKING:
    from vlmchat.chat.conversation import Conversation
    from vlmchat.finetune.estimate import Estimate, Machine
    from vlmchat.finetune.job import Job
    from vlmchat.finetune.preparing import Base, Plan, Preparation
    from vlmchat.finetune.report import DataReport
    from vlmchat.finetune.settings import RunSettings
    from vlmchat.finetune.split import Split
    from vlmchat.talk.front import Front

Allowance: TypeAlias = Literal["file", "folder", "no", "none"]
Ask: TypeAlias = Callable[[Path], Awaitable[Allowance]]
PLAIN_PRESET = "default"
_TELL_SECONDS = 0.1
# Of the memory that is free, and of what the run needs.
_TIGHT, _WORTH = 0.8, 0.1
_LOOK_SECONDS = 0.1


class ReadingCancelledError(UsageError):
    """Reading was left before its end."""

    def __init__(self) -> None:
        super().__init__("Reading was cancelled: nothing was taken from it.")


async def _nothing() -> "Sequence[Conversation]":
    return ()


@dataclass(frozen=True)
class Origin:
    """Where the examples come from.

    Attributes:
        title: what it is called; the job's name to begin with.
        files: logs.
        conversations: gives the conversations whose rated replies teach.
    """

    title: str
    files: tuple[Path, ...] = ()
    conversations: "Callable[[], Awaitable[Sequence[Conversation]]]" = _nothing


@dataclass(frozen=True)
class Outcome:
    """What settings come to on this machine.

    Attributes:
        plan: of the run, if it fits.
        cost: of the run, if that is known.
        error: why it cannot be; one sentence.
        suggestion: the nearest settings that fit.
        engine: bytes that the chat's engine takes, where that is why it does not fit, or nearly so.
        unloading_helps: the run fits once the engine is unloaded.
    """

    plan: "Plan | None" = None
    cost: "Estimate | None" = None
    error: str = ""
    suggestion: "RunSettings | None" = None
    engine: int = 0
    unloading_helps: bool = False


class Finetuning:
    """What is being prepared.

    Args:
        spec: the model, as `vlmchat.finetune.preparing.find_base` takes it.
        device: that it will be trained on: ``cpu`` or ``cuda``.
        origin: where the examples come from.
        engine_pid: returns the process of the chat's engine, if there is one.

    Attributes:
        unrated: replies of conversations teach without being rated.
        unload: the engine is to be unloaded while the job runs.
        preset: the name of the preset that the settings began with.
        settings: of the run, as they are now.
        report: of what was read.
    """

    def __init__(
        self,
        spec: str | None,
        device: str,
        origin: Origin,
        engine_pid: Callable[[], int | None] = lambda: None,
    ) -> None:
        from vlmchat.finetune.report import DataReport
        from vlmchat.finetune.settings import make

        self.origin = origin
        self.device = device
        self.unrated = False
        self.unload = False
        self.preset = PLAIN_PRESET
        self.settings: RunSettings = make({})
        self.report = DataReport()
        self._spec = spec
        self._engine_pid = engine_pid
        self._base: Base | None = None
        self._preparation: Preparation | None = None
        self._machine: Machine | None = None
        self._kept: dict[str, Any] = {}
        self._allowed: set[Path] = set()
        self._refused: set[Path] = set()
        self._refuse_all = False
        self._cancelled = threading.Event()
        self._chosen = False

    @property
    def base(self) -> "Base":
        """What is fine-tuned; known once something was read."""
        assert self._base is not None
        return self._base

    def close(self) -> None:
        """Stop reading, and remove what was unpacked; blocking."""
        self.cancel()
        if self._preparation is not None:
            self._preparation.close()

    # Reading ----------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Have the reading end."""
        self._cancelled.set()

    async def read(self, told: Callable[[int], None], ask: Ask) -> "DataReport":
        """Read the data and return what is in it.

        Args:
            told: is told now and then how many rows were read.
            ask: asks the person whether a file outside the log's folder may be read.

        Raises:
            ReadingCancelledError: the person did not want to wait.
            ModelError: the model is not whole.
        """
        self._cancelled = cancelled = threading.Event()
        conversations = await self.origin.conversations()
        loop = asyncio.get_running_loop()
        last = 0.0

        def reading(rows: int) -> None:
            nonlocal last
            if cancelled.is_set():
                raise ReadingCancelledError
            if (now := time.monotonic()) - last > _TELL_SECONDS:
                last = now
                loop.call_soon_threadsafe(told, rows)

        def outside(path: Path) -> bool:
            return self._may_read(path, ask, loop, cancelled)

        try:
            done = await asyncio.to_thread(self._read, conversations, reading, outside)
        finally:
            cancelled.set()  # whoever awaited this may have gone while the thread goes on
        before, self._preparation = self._preparation, done
        if before is not None:
            await asyncio.to_thread(before.close)
        self.report = done.report
        self._suit()
        return self.report

    def _read(
        self,
        conversations: "Sequence[Conversation]",
        reading: Callable[[int], None],
        outside: Callable[[Path], bool],
    ) -> "Preparation":
        from vlmchat.finetune.preparing import Preparation, find_base
        from vlmchat.finetune.reading import ReadOptions

        if self._base is None:
            self._base = find_base(self._spec, device=self.device)
        options = ReadOptions(outside=outside, unrated=self.unrated)
        preparation = Preparation(self._base, options)
        try:
            preparation.read(
                self.origin.files, conversations, context=self.settings.context, reading=reading
            )
        except BaseException:
            preparation.close()
            raise
        return preparation

    def _may_read(
        self, path: Path, ask: Ask, loop: asyncio.AbstractEventLoop, cancelled: threading.Event
    ) -> bool:
        """Return whether a file outside may be read; in the thread that reads."""
        if path in self._allowed or any(folder in self._allowed for folder in path.parents):
            return True
        if self._refuse_all or path in self._refused:
            return False
        future = asyncio.run_coroutine_threadsafe(_answered(ask, path), loop)
        while True:
            try:
                answer = future.result(_LOOK_SECONDS)
                break
            except TimeoutError:
                if cancelled.is_set():
                    future.cancel()
                    raise ReadingCancelledError from None
        if answer in ("file", "folder"):
            self._allowed.add(path if answer == "file" else path.parent)
        elif answer == "none":
            self._refuse_all = True
        else:
            self._refused.add(path)
        return answer in ("file", "folder")

    def _suit(self) -> None:
        """Begin with a method that learns from what there is, unless the person chose one."""
        kinds = self.report.kinds
        if self._chosen or not kinds or "sft" in kinds:
            return
        if "preference" in kinds:
            self.use_preset("preference")
        else:
            self.change("method", "kto")
        self._chosen = False

    # Settings ---------------------------------------------------------------------------------

    def change(self, name: str, value: object) -> None:
        """Give a setting of the run another value.

        Raises:
            UsageError: it is refused; one sentence.
        """
        from vlmchat.finetune.settings import make
        from vlmchat.talk.finetuning.fields import OF_THE_DATA

        self.settings = make({**self.settings.model_dump(), name: value})
        self._chosen = True
        if name in OF_THE_DATA:
            self._kept[name] = value

    def use_preset(self, name: str) -> None:
        """Begin anew with the settings of a preset; what was said of the data stays.

        Raises:
            UsageError: there is no such preset.
        """
        from vlmchat.finetune.settings import make, preset

        self.settings = make(self._kept) if name == PLAIN_PRESET else preset(name, **self._kept)
        self.preset = name
        self._chosen = True

    def take(self, settings: "RunSettings") -> None:
        """Take the settings that were suggested."""
        self.settings = settings

    def presets(self) -> Mapping[str, str]:
        """Return the presets with what each is for."""
        from vlmchat.finetune.settings import PRESETS

        plain = "Three passes with an adapter of rank 16."
        return {PLAIN_PRESET: plain, **{name: text for name, (text, _) in PRESETS.items()}}

    # Planning ---------------------------------------------------------------------------------

    def parted(self) -> "Split":
        """Return how the usable rows fall into two sides; blocking."""
        from vlmchat.finetune.split import split

        settings = self.settings
        return split(self.report.examples, settings.validation_share, settings.seed)

    async def plan(self) -> Outcome:
        """Return what the settings come to."""
        return await asyncio.to_thread(self._plan, self.settings)

    def _plan(self, settings: "RunSettings") -> Outcome:
        from vlmchat.errors import VlmchatError
        from vlmchat.finetune.estimate import DoesNotFitError
        from vlmchat.finetune.preparing import here

        assert self._preparation is not None
        free = free_memory(self.device)
        if self._machine is None:
            self._machine = here(self.device, self.base, memory=free)
        engine = memory_of(self._engine_pid(), self.device)
        machine = replace(self._machine, memory=free + (engine if self.unload else 0))
        try:
            plan = self._preparation.plan(settings, machine)
        except DoesNotFitError as error:
            cost = error.estimate
            helps = cost.memory <= free + engine and not self.unload
            worth = engine if helps or engine > _WORTH * cost.memory else 0
            return Outcome(None, cost, str(error), error.suggestion, worth, helps)
        except VlmchatError as error:
            return Outcome(error=str(error))
        # What is nearly all that is free leaves nothing for the answers of the chat.
        needed = plan.estimate.memory
        tight = needed > _TIGHT * machine.memory and engine > _WORTH * needed
        return Outcome(plan, plan.estimate, engine=engine if tight and not self.unload else 0)

    async def create(
        self,
        name: str,
        outcome: Outcome,
        progress: Callable[[int, int], None] | None = None,
    ) -> "Job":
        """Make the job folder.

        Args:
            name: what the person calls the job.
            outcome: of a plan that fits.
            progress: is told how many of how many pictures were copied.

        Raises:
            UsageError: there is no plan, or the name says nothing.
            JobError: the disk is full, or the folder not writable.
        """
        plan, preparation = outcome.plan, self._preparation
        if plan is None or preparation is None:
            raise UsageError(outcome.error or "There is nothing to train on yet.")
        loop = asyncio.get_running_loop()

        def told(done: int, total: int) -> None:
            if progress is not None:
                loop.call_soon_threadsafe(progress, done, total)

        return await asyncio.to_thread(preparation.create, name, plan, progress=told)


async def _answered(ask: Ask, path: Path) -> Allowance:
    return await ask(path)


# Beginning from a chat -------------------------------------------------------------------------


def begun(front: "Front", origin: Origin) -> Finetuning:
    """Return a flow that trains the model that the chat talks with."""
    settings, model = front.engine_changer.settings, front.session.engine.model
    asked = settings.engine.model if settings else None
    device: str = settings.engine.device if settings else "auto"
    if device == "auto":
        device = model.device if model else "cpu"
    return Finetuning(
        asked or (model.id if model else None),
        device.partition(":")[0] or "cpu",
        origin,
        lambda: front.session.engine.pid,
    )


def of_files(files: Sequence[Path]) -> Origin:
    """Return logs as an origin."""
    return Origin(files[0].stem or "job", tuple(files))


def of_this_conversation(front: "Front") -> Origin:
    """Return the open conversation as an origin."""

    async def value() -> "Sequence[Conversation]":
        return (front.session.value(),)

    return Origin(front.session.title or "this conversation", conversations=value)


def of_conversations(front: "Front", numbers: Sequence[int] | None, title: str) -> Origin:
    """Return saved conversations as an origin; ``None`` for all of them."""

    async def values() -> "Sequence[Conversation]":
        kept = front.conversations
        wanted = numbers
        if wanted is None:
            threads = [*await kept.threads(), *await kept.threads(archived=True)]
            wanted = list(dict.fromkeys(thread.id for thread in threads))
        return await kept.library.run(lambda store: [store.conversation(n) for n in wanted])

    return Origin(title, conversations=values)

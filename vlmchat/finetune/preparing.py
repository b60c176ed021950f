"""From log files to a job that a trainer can take: the order in which everything is asked.

    base = find_base("smolvlm2-256m", device="cpu")
    with Preparation(base) as preparation:
        report = preparation.read([Path("logs.jsonl")])
        plan = preparation.plan(settings, here("cpu", base))
        job = preparation.create("receipts", plan)

The shell and the chat both go this way; what stands between the steps is theirs to show.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

from vlmchat.chat.conversation import Conversation
from vlmchat.errors import VlmchatError
from vlmchat.finetune import job as jobs
from vlmchat.finetune.estimate import (
    Estimate,
    Machine,
    ModelShape,
    Workload,
    check_fits,
    measured_speed,
)
from vlmchat.finetune.examples import Dropped, Example
from vlmchat.finetune.job import BaseModelRef, DataFile, Job, JobSpec
from vlmchat.finetune.methods import for_method
from vlmchat.finetune.reading import ExampleReader, ReadOptions
from vlmchat.finetune.rendering import Renderer
from vlmchat.finetune.report import DataReport, examine
from vlmchat.finetune.settings import Method, RunSettings
from vlmchat.finetune.split import Split, split
from vlmchat.models.catalogue import DEMO
from vlmchat.models.progress import ProgressSink, ignore_progress
from vlmchat.models.resolve import resolve

# Called with the rows that were read so far.
Reading = Callable[[int], None]


@dataclass(frozen=True)
class Base:
    """A model on this machine that can be fine-tuned.

    Attributes:
        ref: what it is.
        title: how it is called on a screen.
    """

    ref: BaseModelRef
    title: str

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return Path(self.ref.folder)

    @cached_property
    def renderer(self) -> Renderer:
        """What turns messages into its tokens; blocking at the first use.

        Raises:
            ModelError: a file is missing or damaged.
        """
        return Renderer(self.folder, videos=False if self.ref.id == DEMO.id else None)

    @cached_property
    def shape(self) -> ModelShape:
        """What of it decides the costs; blocking at the first use.

        Raises:
            ModelError: a file is missing or damaged.
        """
        return ModelShape.of(self.folder)


def find_base(
    spec: str | None, *, device: str = "cpu", progress: ProgressSink = ignore_progress
) -> Base:
    """Return the model that `spec` names, fetched first if it is not here; blocking.

    Args:
        spec: as `vlmchat.models.resolve.resolve` takes it.
        device: that it will be trained on.
        progress: is told what happens.

    Raises:
        ModelError: unknown, not to be fetched, or not whole.
    """
    import psutil

    memory = psutil.virtual_memory().available
    found = resolve(spec, progress, memory_bytes=memory, device=device.partition(":")[0])
    return Base(BaseModelRef(found.id, found.revision, str(found.path)), found.title)


def here(device: str, base: Base, *, memory: int | None = None) -> Machine:
    """Return what this machine has for a run; blocking.

    Args:
        device: ``cpu`` or ``cuda``.
        base: what is trained: the speed of an earlier run with it is taken over.
        memory: bytes free on the device; on a CPU they are measured where this is ``None``.
    """
    import shutil

    import psutil

    free = psutil.virtual_memory().available if memory is None else memory
    disk = shutil.disk_usage(jobs.jobs_dir()).free
    cores = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    return Machine(device, free, disk, cores=cores, tokens_per_second=_speed_of(base, device))


def _speed_of(base: Base, device: str) -> float | None:
    """Return the tokens a second of the newest run with this model on this device."""
    from vlmchat.finetune.events import Started, read_events

    for job in jobs.list_jobs():
        with suppress(VlmchatError):
            if job.spec().base.id != base.ref.id:
                continue
            events = read_events(job.events_file)
            started = next((one for one in events if isinstance(one, Started)), None)
            if started is None or not started.device.startswith(device.partition(":")[0]):
                continue
            if (speed := measured_speed(events)) is not None:
                return speed
    return None


@dataclass(frozen=True, slots=True)
class Plan:
    """A run that fits: its settings, its two sides, and what it costs."""

    settings: RunSettings
    split: Split
    work: Workload
    estimate: Estimate


class Preparation:
    """Reads data for one base and makes a job of it; a context manager.

    Keep it open until `create` has returned: what was unpacked from a log lies with it.

    Attributes:
        base: that is fine-tuned.
        report: of what was read last.
    """

    def __init__(self, base: Base, options: ReadOptions | None = None) -> None:
        self.base = base
        self.report = DataReport()
        self._reader = ExampleReader(options)
        self._files: tuple[DataFile, ...] = ()
        self._measured: dict[Method, tuple[list[Example], DataReport]] = {}

    def __enter__(self) -> Self:
        """Return the preparation itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove what was unpacked."""
        self.close()

    def close(self) -> None:
        """Remove what was unpacked."""
        self._reader.close()

    def read(
        self,
        files: Sequence[Path],
        conversations: Iterable[Conversation] = (),
        *,
        context: int | None = None,
        reading: Reading | None = None,
    ) -> DataReport:
        """Read logs and rated conversations, and return what is in them; blocking.

        Args:
            files: logs of any known format.
            conversations: whose rated replies teach.
            context: tokens that a row may have; by default what the model can take.
            reading: is told how many rows were read; it may raise to end the work.

        Raises:
            ModelError: a file of the model is missing or damaged.
        """
        renderer = self.base.renderer
        limit = min(context or renderer.context, renderer.context)
        found = _told(self._found(files, conversations), reading)
        self.report = examine(found, renderer.count, limit)
        self._measured = {}
        self._files = tuple(jobs.data_file(path) for path in files if path.is_file())
        return self.report

    def _found(
        self, files: Sequence[Path], conversations: Iterable[Conversation]
    ) -> Iterator[Example | Dropped]:
        for path in files:
            yield from self._reader.read(path)
        yield from self._reader.conversations(conversations)

    def plan(self, settings: RunSettings, machine: Machine) -> Plan:
        """Return the run over what was read; blocking.

        Raises:
            UsageError: nothing was read that the method learns from.
            DoesNotFitError: the machine has less than it needs; with the nearest that fits.
        """
        chosen, report = self._for_method(settings.method)
        parted = split(chosen, settings.validation_share, settings.seed)
        spec = self.base.renderer.spec
        work = Workload.of(report, spec.tokens_per_tile, parted.validation)
        return Plan(settings, parted, work, check_fits(settings, self.base.shape, work, machine))

    def _for_method(self, method: Method) -> tuple[list[Example], DataReport]:
        """Return what a method learns from, measured; once, as plans are asked for often."""
        if method not in self._measured:
            chosen = for_method(self.report.examples, method)
            report = examine(chosen, self.base.renderer.count, self.report.context)
            self._measured[method] = chosen, report
        return self._measured[method]

    def create(
        self, name: str, plan: Plan, *, progress: Callable[[int, int], None] | None = None
    ) -> Job:
        """Make the job folder; blocking.

        Raises:
            UsageError: there is nothing to train on, or the name says nothing.
            JobError: the disk is full, or the folder not writable.
            MediaError: a picture cannot be read any more.
        """
        spec = JobSpec(name, self.base.ref, plan.settings, self._files)
        return jobs.create(spec, plan.split.train, plan.split.validation, progress=progress)


def _told(
    found: Iterator[Example | Dropped], reading: Reading | None
) -> Iterator[Example | Dropped]:
    for number, item in enumerate(found, 1):
        if reading is not None:
            reading(number)
        yield item

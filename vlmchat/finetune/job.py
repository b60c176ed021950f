"""The job folder, which is the whole truth about a fine-tuning run.

    job.toml          settings, base, data and its hashes, when it was made
    train.jsonl       prepared examples (`vlmchat.finetune.canonical`)
    validation.jsonl
    media/            their pictures and videos, by SHA-256
    events.jsonl      what the trainer tells (`vlmchat.finetune.events`)
    control           what the trainer is asked
    checkpoints/      of the trainer
    adapter/          the result, a PEFT folder
    log.txt           what the libraries print
    lock, pid         held while a trainer is alive

Whoever opens the folder sees where the run is; nobody has to have been there.
"""

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast, get_args

from vlmchat import paths
from vlmchat.chat.formats.own import dumps
from vlmchat.chat.formats.sources import suffix_of
from vlmchat.chat.formats.values import short
from vlmchat.chat.messages import Media
from vlmchat.errors import UsageError, VlmchatError
from vlmchat.finetune.canonical import data_hash, from_row, to_row
from vlmchat.finetune.events import Ended, Error, Event, EventTail, Paused, Resumed, Started
from vlmchat.finetune.examples import Example
from vlmchat.finetune.files import (
    JobError,
    safe_name,
    take_name,
    told,
    write_whole,
)
from vlmchat.finetune.settings import RunSettings, from_table, to_table
from vlmchat.media.rules import Background, rules

VERSION = 1
Request: TypeAlias = Literal["pause", "resume", "stop", "cancel"]
JobState: TypeAlias = Literal[
    "prepared", "running", "paused", "finished", "stopped", "failed", "dead"
]
Side: TypeAlias = Literal["train", "validation"]
_LOCK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class BaseModelRef:
    """The model that is fine-tuned: its `id`, the `revision` of it, and the `folder` it lies in."""

    id: str
    revision: str
    folder: str


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file the examples came from, and its `sha256` when it was read."""

    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What ``job.toml`` holds.

    Attributes:
        name: what the person calls it.
        base: what is fine-tuned.
        settings: how.
        files: where the examples came from.
        data_hash: of all examples, in any order.
        rows: that are trained on.
        validation_rows: that only measure.
        created: seconds since 1970.
        background: what transparent parts of pictures are laid over (`vlmchat.media.rules`).
        number_images: whether pictures are named in the prompt.
    """

    name: str
    base: BaseModelRef
    settings: RunSettings
    files: tuple[DataFile, ...] = ()
    data_hash: str = ""
    rows: int = 0
    validation_rows: int = 0
    created: float = field(default_factory=time.time)
    background: Background = field(default_factory=lambda: rules().background)
    number_images: bool = field(default_factory=lambda: rules().number_images)


def jobs_dir() -> Path:
    """Return the folder of all jobs, created if missing."""
    folder = paths.data_dir() / "jobs"
    with told(f"The folder {folder} cannot be made"):
        folder.mkdir(mode=0o700, exist_ok=True)
    return folder


class Job:
    """A job folder that exists."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __repr__(self) -> str:
        return f"Job({str(self.folder)!r})"

    @property
    def id(self) -> str:
        """The folder's name; what commands call the job by."""
        return self.folder.name

    @property
    def events_file(self) -> Path:
        """Where the trainer tells what it does."""
        return self.folder / "events.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Where the trainer keeps what it can go on from."""
        return self.folder / "checkpoints"

    @property
    def adapter(self) -> Path:
        """The result."""
        return self.folder / "adapter"

    @property
    def log_file(self) -> Path:
        """Where the libraries print."""
        return self.folder / "log.txt"

    def spec(self) -> JobSpec:
        """Return what ``job.toml`` holds.

        Raises:
            JobError: it is missing, damaged, or of a newer version.
        """
        path = self.folder / "job.toml"
        try:
            return _spec_of(tomllib.loads(path.read_text("utf-8")))
        except OSError as error:
            raise JobError(
                f"“{short(self.folder)}” is no job folder: job.toml cannot be read "
                f"({error.strerror})."
            ) from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise JobError(f"“{short(path)}” is damaged ({short(error)}).") from error

    def examples(self, side: Side) -> Iterator[Example]:
        """Yield the prepared examples of one side; their media are read when asked for.

        Raises:
            JobError: the file is missing or damaged; the sentence has the line.
        """
        path = self.folder / f"{side}.jsonl"
        with told(f"“{short(path)}” cannot be read"), path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    yield from_row(json.loads(line), self.folder)
                except (ValueError, UsageError) as error:
                    raise JobError(
                        f"“{short(path)}”, line {number}, is damaged ({short(error)}): prepare "
                        "the job again."
                    ) from error

    # What goes on -----------------------------------------------------------------------------

    def events(self) -> EventTail:
        """Return a reader of the events from the first on."""
        return EventTail(self.events_file)

    def state(self) -> JobState:
        """Return where the run is; blocking.

        ``paused``: its trainer waits, or has ended with a checkpoint to go on from. ``stopped``:
        ended early as a person asked, also when cancelled. ``dead``: its trainer was killed; it
        can go on from the last checkpoint.
        """
        # Asked first: a trainer that ends between the two has told so by then.
        alive = self.alive()
        last = _last_turn(self.events_file)
        if alive:
            return "paused" if isinstance(last, Paused) else "running"
        if last is None:
            return "prepared"
        if isinstance(last, Ended):
            return "finished" if last.reason in ("finished", "early") else "stopped"
        if isinstance(last, Error):
            return "failed"
        return "paused" if isinstance(last, Paused) else "dead"

    def alive(self) -> bool:
        """Return whether a trainer holds the job now."""
        import psutil
        from filelock import FileLock, Timeout

        path = self.folder / "lock"
        if not path.exists():
            return False
        try:
            with FileLock(path, timeout=0):
                return False
        except Timeout:
            # Others that ask have the lock for a moment, too, but leave no number.
            number = self._pid_written()
            return number is not None and psutil.pid_exists(number)
        except OSError:
            return True

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the job for this process, which is its trainer.

        Raises:
            JobError: another trainer has it.
        """
        from filelock import FileLock, Timeout

        try:
            # Whoever asks `alive` has the lock for a moment.
            with FileLock(self.folder / "lock", timeout=_LOCK_SECONDS):
                write_whole(self.folder / "pid", f"{os.getpid()}\n".encode())
                try:
                    yield
                finally:
                    (self.folder / "pid").unlink(missing_ok=True)
        except Timeout:
            raise JobError(f"The job “{short(self.id)}” is running already.") from None

    def pid(self) -> int | None:
        """Return the process that holds the job, if one does."""
        number = self._pid_written()
        return number if number is not None and self.alive() else None

    def _pid_written(self) -> int | None:
        """Return the number that a trainer has left in the folder, be it dead or alive."""
        try:
            return int((self.folder / "pid").read_text("ascii"))
        except (OSError, ValueError):
            return None

    # Requests ---------------------------------------------------------------------------------

    def ask(self, request: Request) -> None:
        """Ask the trainer for something; a later request replaces one not yet obeyed.

        Raises:
            JobError: it cannot be written.
        """
        with told(f"The job “{short(self.id)}” cannot be told to {request}"):
            write_whole(self.folder / "control", f"{request} {secrets.token_hex(8)}\n".encode())

    def clear_requests(self) -> None:
        """Forget what was asked; done by whoever starts a trainer, before it is started."""
        with told(f"The job “{short(self.id)}” cannot be made ready"):
            (self.folder / "control").unlink(missing_ok=True)

    def requests(self) -> "Requests":
        """Return the trainer's reader of requests."""
        return Requests(self.folder / "control")

    def delete(self) -> None:
        """Remove the job with all that is in its folder; an adapter on the shelf stays.

        Raises:
            JobError: it is running, or cannot be removed.
        """
        if self.alive():
            raise JobError(f"The job “{short(self.id)}” is running: stop it first.")
        with told(f"The job “{short(self.id)}” cannot be removed"):
            # Renamed first, so that nobody ever sees half a job.
            gone = self.folder.with_name(f".{self.folder.name}.{secrets.token_hex(4)}.part")
            self.folder.rename(gone)
            shutil.rmtree(gone)


class Requests:
    """Gives each request once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = ""

    def new(self) -> Request | None:
        """Return what was asked since the last call; blocking."""
        try:
            text = self._path.read_text("ascii")
        except (OSError, ValueError):
            return None
        if text == self._seen:
            return None
        self._seen = text
        word = text.partition(" ")[0]
        return cast("Request", word) if word in get_args(Request) else None


def _last_turn(path: Path) -> Event | None:
    """Return the last event that changes a job's state."""
    found: Event | None = None
    for event in EventTail(path).new():
        if isinstance(event, Started | Paused | Resumed | Ended | Error):
            found = event
    return found


# Making and finding ----------------------------------------------------------------------------


def create(
    spec: JobSpec,
    train: Sequence[Example],
    validation: Sequence[Example] = (),
    *,
    folder: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Job:
    """Prepare a job: everything the trainer needs is in its folder, or there is no folder.

    Args:
        spec: name, base, settings and files; hashes of examples and counts are filled in.
        train: examples that are trained on.
        validation: examples that only measure.
        folder: where jobs are; the person's own by default.
        progress: called with the media that are copied and how many there are.

    Raises:
        UsageError: there is nothing to train on, or the name says nothing.
        JobError: the disk is full, or the folder not writable.
        MediaError: a picture cannot be read any more.
    """
    if not train:
        raise UsageError("There is nothing to train on: see the report for why rows were dropped.")
    name = safe_name(spec.name)
    root = folder or jobs_dir()
    temporary = root / f".{name}.{secrets.token_hex(6)}.part"
    try:
        with told(f"The job cannot be prepared in {short(root)}"):
            (temporary / "media").mkdir(parents=True, mode=0o700)
            (temporary / "checkpoints").mkdir()
            _copy_media(temporary, [*train, *validation], progress)
            for side, examples in (("train", train), ("validation", validation)):
                write_whole(temporary / f"{side}.jsonl", _lines(examples))
            text = _toml(spec, len(train), len(validation), data_hash([*train, *validation]))
            write_whole(temporary / "job.toml", text.encode())
            return Job(take_name(temporary, root, name))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _lines(examples: Iterable[Example]) -> Iterator[bytes]:
    for example in examples:
        yield (dumps(to_row(example, _place)) + "\n").encode()


def _place(media: Media) -> str:
    return f"media/{media.sha256}{suffix_of(media.mime)}"


def _copy_media(
    folder: Path, examples: Iterable[Example], progress: Callable[[int, int], None] | None
) -> None:
    found = {medium.sha256: medium for example in examples for medium in example.media}
    for number, medium in enumerate(found.values(), 1):
        target = folder / _place(medium)
        if medium.file is None:
            target.write_bytes(medium.data)
        else:
            _link_or_copy(medium.file, target)
        if progress is not None:
            progress(number, len(found))


def _link_or_copy(source: Path, target: Path) -> None:
    """Give a video, which may be large, a second name; copy it where that cannot be."""
    try:
        os.link(source.resolve(), target)
    except (OSError, NotImplementedError):
        shutil.copyfile(source, target)


def open_job(name: str | Path) -> Job:
    """Return the job in a folder, or the one of that name among the person's.

    Raises:
        JobError: there is none.
    """
    folder = Path(name)
    if not (folder / "job.toml").is_file():
        safe = str(name) not in ("", ".", "..") and Path(name).name == str(name)
        folder = jobs_dir() / str(name)
        if not safe or not (folder / "job.toml").is_file():
            raise JobError(f"There is no job “{short(name)}”: see vlmchat finetune --list.")
    return Job(folder)


def list_jobs(folder: Path | None = None) -> list[Job]:
    """Return the jobs, the newest first; folders that are none are passed over."""
    found: list[tuple[float, Job]] = []
    for item in (folder or jobs_dir()).iterdir():
        if item.name.startswith(".") or not (item / "job.toml").is_file():
            continue
        with contextlib.suppress(VlmchatError):
            job = Job(item)
            found.append((job.spec().created, job))
    return [job for _, job in sorted(found, key=lambda pair: pair[0], reverse=True)]


def data_file(path: Path) -> DataFile:
    """Return a log file with its hash; blocking.

    Raises:
        JobError: it cannot be read.
    """
    with told(f"“{short(path)}” cannot be read"), path.open("rb") as file:
        return DataFile(str(path.absolute()), hashlib.file_digest(file, "sha256").hexdigest())


def _toml(spec: JobSpec, rows: int, validation_rows: int, digest: str) -> str:
    import tomlkit

    value: dict[str, Any] = {
        "version": VERSION,
        "name": spec.name,
        "created": spec.created,
        "base": asdict(spec.base),
        "data": {
            "hash": digest,
            "rows": rows,
            "validation_rows": validation_rows,
            "files": [asdict(file) for file in spec.files],
        },
        "media": {"background": spec.background, "number_images": spec.number_images},
        "settings": to_table(spec.settings),
    }
    return tomlkit.dumps(value)


def _spec_of(value: dict[str, Any]) -> JobSpec:
    if value["version"] > VERSION:
        raise ValueError(f"it is of version {value['version']}: update vlmchat")
    data = value["data"]
    return JobSpec(
        str(value["name"]),
        BaseModelRef(**value["base"]),
        from_table(value["settings"]),
        tuple(DataFile(**file) for file in data["files"]),
        str(data["hash"]),
        int(data["rows"]),
        int(data["validation_rows"]),
        float(value["created"]),
        "black" if value["media"]["background"] == "black" else "white",
        bool(value["media"]["number_images"]),
    )

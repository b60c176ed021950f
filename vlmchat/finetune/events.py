"""What a trainer tells while it runs, one JSON object a line in ``events.jsonl``.

The schema is that of the models here (`json_schema`). The file only grows; whoever reads along
sees whole lines only, and a line that a kill cut off is passed over.
"""

import json
import math
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from vlmchat.chat.formats.own import dumps

EndReason: TypeAlias = Literal["finished", "early", "stopped", "cancelled"]


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


# JSON has no NaN: a loss that is none is null.
Number: TypeAlias = Annotated[float | None, BeforeValidator(_finite)]


class _Event(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    time: float = Field(default_factory=time.time, description="Seconds since 1970.")


class Started(_Event):
    """The trainer has loaded everything and begins."""

    event: Literal["started"] = "started"
    steps: int = Field(description="Steps of the optimizer in the whole run.")
    rows: int = Field(description="Rows that are trained on.")
    validation_rows: int = Field(default=0, description="Rows that only measure.")
    parameters: int = Field(default=0, description="Numbers that are trained.")
    device: str = Field(default="cpu", description="What it runs on.")
    processes: int = Field(default=1, description="Processes that share the work.")
    from_step: int = Field(
        default=0, description="The step it goes on after; what was told of later steps is void."
    )


class Step(_Event):
    """One step of the optimizer."""

    event: Literal["step"] = "step"
    step: int = Field(description="From 1.")
    epoch: float = Field(description="Passes over the data so far.")
    loss: Number = Field(description="Training loss; null where it is no number.")
    learning_rate: float
    grad_norm: Number = Field(default=None, description="Before it is clipped.")
    tokens: int = Field(default=0, description="Tokens that went through the model so far.")
    tokens_per_second: float = 0.0
    memory: int = Field(default=0, description="Bytes that the process takes on its device.")
    metrics: dict[str, Number] = Field(
        default_factory=dict, description="What else the method tells, as rewards/margins."
    )


class Validation(_Event):
    """A measurement on the validation rows."""

    event: Literal["validation"] = "validation"
    step: int
    loss: Number
    best: bool = Field(default=False, description="No measurement before it was better.")
    metrics: dict[str, Number] = Field(default_factory=dict)


class Sample(_Event):
    """An answer of the model as it is now."""

    event: Literal["sample"] = "sample"
    step: int
    index: int = Field(description="Which validation row, from 0.")
    text: str


class Checkpoint(_Event):
    """A checkpoint is whole and on the disk."""

    event: Literal["checkpoint"] = "checkpoint"
    step: int
    name: str = Field(description="Its folder under checkpoints/.")
    best: bool = False


class Paused(_Event):
    """The trainer waits, or has ended with a checkpoint to go on from."""

    event: Literal["paused"] = "paused"
    step: int


class Resumed(_Event):
    """The trainer goes on after a pause in which it was alive."""

    event: Literal["resumed"] = "resumed"
    step: int


class Ended(_Event):
    """The run is over and the adapter saved, unless it was cancelled."""

    event: Literal["ended"] = "ended"
    reason: EndReason = Field(
        description="finished: all steps; early: the validation loss no longer fell; stopped or "
        "cancelled: as asked."
    )
    step: int
    best_step: int | None = Field(default=None, description="The step whose adapter was kept.")
    loss: Number = Field(default=None, description="Validation loss of the kept adapter.")


class Error(_Event):
    """The run is over because of an error."""

    event: Literal["error"] = "error"
    message: str = Field(description="One sentence for the person.")
    detail: str = Field(default="", description="For the log.")


Event: TypeAlias = (
    Started | Step | Validation | Sample | Checkpoint | Paused | Resumed | Ended | Error
)
_ADAPTER: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a line of ``events.jsonl``."""
    return _ADAPTER.json_schema(mode="serialization")


def to_line(event: Event) -> str:
    """Return an event as it stands in the file."""
    return dumps(event.model_dump()) + "\n"


def parse(line: str | bytes) -> Event | None:
    """Return the event in a line; ``None`` for what is none, or of a kind not known here."""
    try:
        return _ADAPTER.validate_python(json.loads(line))
    except (ValueError, RecursionError, ValidationError):
        return None


class EventWriter:
    """Appends events to a file; a context manager. One process writes at a time."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab")
        # A line that a kill cut off must not swallow the next one.
        if self._file.tell():
            with path.open("rb") as file:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    self._file.write(b"\n")
                    self._file.flush()

    def __enter__(self) -> Self:
        """Return the writer itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    def write(self, event: Event) -> None:
        """Append an event; it can be read when this returns, and is durable if a run hangs on it.

        Raises:
            OSError: the disk is full.
        """
        self._file.write(to_line(event).encode())
        self._file.flush()
        if not isinstance(event, Step | Sample):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class EventTail:
    """Reads along in a file of events that may grow, not exist yet, or begin anew.

    Attributes:
        skipped: lines that were no events.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self._rest = b""
        self._inode = 0
        self.skipped = 0

    def new(self) -> list[Event]:
        """Return the events whose lines were completed since the last call; blocking.

        A last line that is not ended yet is left for the next call.
        """
        try:
            with self._path.open("rb") as file:
                info = os.fstat(file.fileno())
                if info.st_ino != self._inode or info.st_size < self._at:
                    self._at, self._rest, self._inode = 0, b"", info.st_ino
                file.seek(self._at)
                data = file.read()
        except OSError:
            return []
        self._at += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        found: list[Event] = []
        for line in lines:
            event = parse(line)
            if event is not None:
                found.append(event)
            elif line.strip():
                self.skipped += 1
        return found


def read_events(path: Path) -> list[Event]:
    """Return all whole events of a file; none if there is no file."""
    return EventTail(path).new()


def valid(events: Iterable[Event]) -> Iterator[Event]:
    """Yield events without those that a resumed run takes back.

    After a kill a run goes on from its last checkpoint, and takes again the steps after it.
    """
    kept: list[Event] = []
    for event in events:
        if isinstance(event, Started) and kept:
            kept = [
                one
                for one in kept
                if not isinstance(one, Step | Validation | Sample | Checkpoint)
                or one.step <= event.from_step
            ]
        kept.append(event)
    yield from kept

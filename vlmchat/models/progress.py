"""How long-running steps tell what they are doing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

Stage: TypeAlias = Literal["starting", "downloading", "converting", "loading", "quantizing"]


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of getting a model ready.

    Attributes:
        stage: what kind of work it is.
        text: one line for a person, without figures of progress.
        done: bytes (or steps) done so far.
        total: bytes (or steps) in all; 0 when unknown.
    """

    stage: Stage
    text: str
    done: int = 0
    total: int = 0


ProgressSink: TypeAlias = Callable[[Progress], None]


def ignore_progress(_: Progress) -> None:
    """Take progress and do nothing with it."""

"""How far a batch is: a line that is written over on a terminal, else one now and then."""

import time
from collections.abc import Callable
from typing import TextIO

_EVERY, _EVERY_PLAIN = 0.2, 10.0  # seconds
_WIDTH = 20


class Progress:
    """Tells how many rows have their answers, how fast it goes, and how long it will take.

    Args:
        total: rows of the batch.
        done: those that had their answers before.
        out: where it is written.
        clock: seconds.
        errors: those of `done` that have an error.
    """

    def __init__(
        self,
        total: int,
        done: int,
        out: TextIO,
        clock: Callable[[], float] = time.monotonic,
        errors: int = 0,
    ) -> None:
        self._total, self._before, self._out, self._clock = total, done, out, clock
        self._live = out.isatty()
        self._began = self._told = clock()
        self.done, self.errors = done, errors
        if self._live:
            self._tell()

    def add(self, *, error: bool) -> None:
        """Count one more row."""
        self.done += 1
        self.errors += error
        if self._clock() - self._told >= (_EVERY if self._live else _EVERY_PLAIN):
            self._tell()

    def end(self) -> None:
        """Say how far it came."""
        self._tell()
        if self._live:
            print(file=self._out, flush=True)

    def line(self) -> str:
        """Return it in words."""
        now, seconds = self.done - self._before, self._clock() - self._began
        parts = [f"{self.done} of {self._total}"]
        if now and seconds > 0:
            rate = now / seconds
            parts.append(f"{rate:.2f} pictures/s" if rate < 10 else f"{rate:.0f} pictures/s")
            if left := self._total - self.done:
                parts.append(f"{duration(left / rate)} to go")
            else:
                parts.append(f"in {duration(seconds)}")
        if self.errors:
            parts.append(f"{self.errors} with an error")
        return ", ".join(parts)

    def _tell(self) -> None:
        self._told = self._clock()
        if self._live:
            filled = _WIDTH * self.done // max(1, self._total)
            bar = "#" * filled + "-" * (_WIDTH - filled)
            print(f"\r\x1b[K[{bar}] {self.line()}", end="", file=self._out, flush=True)
        else:
            print(self.line(), file=self._out, flush=True)


def duration(seconds: float) -> str:
    """Return a length of time as 0:05, 12:34 or 1:02:03."""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

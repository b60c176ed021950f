"""The file of answers, which is also what makes a batch go on where it was.

One JSON row an answer, in order, each written at once and whole: what is in the file is done, and
nothing else is. A line that was cut short, by a full disk or a power cut, has no end of line and
is cut off when the batch goes on. Each row names the run it belongs to (a digest of all settings
that decide answers), what was asked and its place, so that answers of another prompt are never
mixed in, and no file is written to that is not such a run.
"""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from vlmchat import paths
from vlmchat.batch.rows import Row
from vlmchat.errors import UsageError, VlmchatError
from vlmchat.text import visible_line

_SYNC_SECONDS = 0.25  # of answers are lost at most when the power goes; they are asked for again
_BEGINNING = b'{"index": '


class JournalError(VlmchatError):
    """The file of answers cannot be written."""


def digest(settings: dict[str, Any]) -> str:
    """Return a short name for all that decides answers."""
    text = json.dumps(settings, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


class Journal:
    """The answers of one batch on the disk; one process at a time.

    Args:
        path: of the file; made if it is not there.
        rows: of the whole batch.

    Attributes:
        done: how many rows have their answers.
        errors: how many of these have an error instead.
        run: the digest that the rows there are have; empty where there are none.

    Raises:
        UsageError: the file is not of such a batch, or another process is writing it.
        JournalError: it cannot be written.
    """

    def __init__(self, path: Path, rows: Sequence[Row]) -> None:
        self._path, self._name = path, visible_line(str(path))
        self._synced = 0.0
        self.done, self.errors, self.run = 0, 0, ""
        self._lock = _lock_of(path)
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            raise UsageError(
                f"Another batch is writing “{self._name}”: wait for it, or choose another --out."
            ) from None
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        except OSError as error:
            self._lock.release()
            raise self._failed(error) from error
        try:
            self._take_up(rows)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Have all of it on the disk, and let others write."""
        with contextlib.suppress(OSError):
            os.fsync(self._file)
        os.close(self._file)
        self._lock.release()

    def append(self, row: dict[str, Any]) -> None:
        """Write the next answer.

        Raises:
            JournalError: it cannot be written; all before it is kept.
        """
        line = json.dumps({"index": self.done, **row}, ensure_ascii=False)
        data = line.encode("utf-8", "replace") + b"\n"
        try:
            while data:
                data = data[os.write(self._file, data) :]
            if (now := time.monotonic()) - self._synced > _SYNC_SECONDS:
                os.fsync(self._file)
                self._synced = now
        except OSError as error:
            raise self._failed(error) from error
        self.done += 1
        self.errors += row.get("error") is not None

    def _take_up(self, rows: Sequence[Row]) -> None:
        """Read what is there, cut off a last line that has no end, and stand behind it."""
        end = 0
        with open(self._file, "rb", closefd=False) as file:
            for line in file:
                if not line.endswith(b"\n"):
                    self._check_torn(line)
                    break
                self._check(line, rows)
                end += len(line)
                self.done += 1
        try:
            os.ftruncate(self._file, end)
            os.lseek(self._file, end, os.SEEK_SET)
        except OSError as error:
            raise self._failed(error) from error

    def _check_torn(self, line: bytes) -> None:
        """Check that a line without an end is the beginning of an answer.

        Raises:
            UsageError: it is something else, which is not ours to cut off.
        """
        rest = line.rstrip(b"\0")  # as some file systems fill up what never reached the disk
        if rest[: len(_BEGINNING)] != _BEGINNING[: len(rest)]:
            raise self._foreign()

    def _check(self, line: bytes, rows: Sequence[Row]) -> None:
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            raise self._foreign() from None
        if not isinstance(found, dict) or found.get("index") != self.done:
            raise self._foreign()
        run, source, prompt = (found.get(name) for name in ("run", "source", "prompt"))
        if not isinstance(run, str) or not isinstance(source, str):
            raise self._foreign()
        if self.done >= len(rows):
            raise UsageError(
                f"“{self._name}” has answers to more than these {len(rows)}: choose another --out."
            )
        wanted = rows[self.done]
        if source != _written(wanted.source):
            raise UsageError(
                f"“{self._name}” has “{visible_line(source)}” as number {self.done + 1}, where "
                f"“{visible_line(wanted.source)}” is now: choose another --out."
            )
        if prompt != _written(wanted.prompt) or (self.run and run != self.run):
            raise self.other_settings()
        self.run = run
        self.errors += found.get("error") is not None

    def other_settings(self) -> UsageError:
        """Return what is said where the answers there are were asked for in another way."""
        return UsageError(
            f"“{self._name}” has answers to another prompt, or by another model or other "
            "settings: choose another --out."
        )

    def _foreign(self) -> UsageError:
        return UsageError(
            f"“{self._name}” is not a file of answers by this command, and stays as it is: "
            "choose another --out."
        )

    def _failed(self, error: OSError) -> JournalError:
        why = visible_line(error.strerror or str(error))
        return JournalError(
            f"“{self._name}” cannot be written ({why}): the same command goes on with it later."
        )


def _written(text: str) -> str:
    """Return a text as it reads in the file, where half a surrogate pair cannot stand."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _lock_of(path: Path) -> FileLock:
    """Return the lock of a file, which lies elsewhere, so that nothing is left beside it."""
    folder = paths.cache_dir() / "batches"
    folder.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:24]
    return FileLock(folder / f"{name}.lock")

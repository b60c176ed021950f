"""The files of a set, and the journal that lets its making be broken off at any moment.

``data.jsonl`` has the rows, ``data.dropped.jsonl`` those left out. ``data.journal.jsonl`` begins
with how the set is made, and has a line for each piece of work that is done: how long both files
were then, and the SHA-256 of their content. Rows reach the disk before the line that speaks of
them. Whoever goes on cuts off what no line speaks of, and makes it again: every row is there once.
"""

import contextlib
import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Self

from filelock import FileLock, Timeout

from vlmchat.errors import UsageError
from vlmchat.finetune.files import sync_folder
from vlmchat.text import visible_line

_VERSION = 1
_SYNC_SECONDS = 1.0
_BLOCK = 1 << 20
Row = dict[str, Any]


def dropped_file(out: Path) -> Path:
    """Return where the rows left out are kept."""
    return out.with_name(f"{out.stem}.dropped{out.suffix}")


def journal_file(out: Path) -> Path:
    """Return where the journal of a set is kept."""
    return out.with_name(f"{out.stem}.journal.jsonl")


class _Growing:
    """A file that only grows: what was written last can be cut off again."""

    def __init__(self, path: Path, file: IO[bytes], end: int, digest: "hashlib._Hash") -> None:
        self.path, self._file, self.end, self._digest = path, file, end, digest

    @classmethod
    def create(cls, path: Path) -> "_Growing":
        return cls(path, path.open("xb"), 0, hashlib.sha256())

    @classmethod
    def reopen(cls, path: Path, end: int, sha256: str, run: str) -> "_Growing":
        """Open a file that was written up to `end`, and cut off our own rows behind that."""
        file = path.open("r+b")
        try:
            digest, left = hashlib.sha256(), end
            while left and (block := file.read(min(_BLOCK, left))):
                digest.update(block)
                left -= len(block)
            if left or digest.hexdigest() != sha256:
                raise _changed(path)
            _check_tail(path, file, run)
            file.truncate(end)
            file.seek(end)
        except BaseException:
            file.close()
            raise
        return cls(path, file, end, digest)

    def write(self, rows: Sequence[Row]) -> None:
        data = b"".join(as_line(row) for row in rows)
        self._file.write(data)
        self._digest.update(data)
        self.end += len(data)

    def state(self) -> list[Any]:
        return [self.end, self._digest.hexdigest()]

    def sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


class Ledger:
    """A set that is being made; a context manager. Blocking, all of it.

    Args:
        out: the file of the rows.
        recipe: how the set is made, as JSON values: going on needs the same.
        changeable: names in it that need not be the same.

    Attributes:
        run: a name for this set, in each of its rows.
        done: the pieces of work that are done.
        begun_before: it goes on with a set that was there.

    Raises:
        UsageError: a file is there that is no set of ours, is being written, was changed since, or
            is made by another recipe; or it cannot be written.
    """

    def __init__(self, out: Path, recipe: dict[str, Any], changeable: Sequence[str] = ()) -> None:
        self.out = out
        self._stack = ExitStack()
        self.done: set[str] = set()
        self.kept, self.pieces = 0, 0
        self.dropped: Counter[str] = Counter()
        self._pending: list[bytes] = []
        self._synced = time.monotonic()
        try:
            with _told(out):
                out.parent.mkdir(parents=True, exist_ok=True)
                self._lock()
                self.begun_before = journal_file(out).exists()
                if self.begun_before:
                    self._go_on(recipe, changeable)
                else:
                    self._begin(recipe, changeable)
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Self:
        """Return the ledger itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Write what is waiting, and close the files."""
        try:
            self.sync()
        finally:
            self._stack.close()

    def _lock(self) -> None:
        path = self.out.with_name(f".{self.out.name}.lock")
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise UsageError(
                f"“{visible_line(str(self.out))}” is being written by another run: wait for it."
            ) from None

        def release() -> None:
            lock.release()
            path.unlink(missing_ok=True)

        self._stack.callback(release)

    # Opening ------------------------------------------------------------------------------------

    def _begin(self, recipe: dict[str, Any], changeable: Sequence[str]) -> None:
        for path in (self.out, dropped_file(self.out)):
            if path.exists():
                raise UsageError(
                    f"“{visible_line(str(path))}” is there already, and no set that could be gone "
                    "on with: name another --out."
                )
        # Of what decides what is made: the same set made anew has the same rows, byte by byte.
        fixed = {name: value for name, value in recipe.items() if name not in changeable}
        self.run = hashlib.sha256(as_line(fixed)).hexdigest()[:12]
        self._data = self._kept_open(_Growing.create(self.out))
        self._left = self._kept_open(_Growing.create(dropped_file(self.out)))
        head = {"vlmchat": "synth", "version": _VERSION, "run": self.run, "recipe": recipe}
        self._journal: IO[bytes] = journal_file(self.out).open("xb")
        self._stack.callback(self._journal.close)
        self._journal.write(as_line(head))
        self._flush_journal()
        sync_folder(self.out.parent)

    def _go_on(self, recipe: dict[str, Any], changeable: Sequence[str]) -> None:
        path = journal_file(self.out)
        lines, end = _whole_lines(path)
        if not lines or lines[0].get("vlmchat") != "synth" or lines[0].get("version") != _VERSION:
            raise UsageError(
                f"“{visible_line(str(path))}” is no journal of this version: name another --out."
            )
        self.run = lines[0]["run"]
        _check_recipe(self.out, lines[0]["recipe"], recipe, changeable)
        ends = {"data": [0, hashlib.sha256().hexdigest()]}
        ends["left"] = ends["data"]
        for line in lines[1:]:
            self._count(line)
            ends = line
        self._data = self._reopened(self.out, ends["data"])
        self._left = self._reopened(dropped_file(self.out), ends["left"])
        self._journal = path.open("r+b")
        self._stack.callback(self._journal.close)
        self._journal.truncate(end)
        self._journal.seek(end)

    def _reopened(self, path: Path, state: Sequence[Any]) -> _Growing:
        if not path.exists():
            if state[0]:
                raise UsageError(
                    f"“{visible_line(str(path))}” is gone, and its journal is there: put it back, "
                    "or name another --out."
                )
            return self._kept_open(_Growing.create(path))
        return self._kept_open(_Growing.reopen(path, state[0], state[1], self.run))

    def _kept_open(self, file: _Growing) -> _Growing:
        self._stack.callback(file.close)
        return file

    # Writing ------------------------------------------------------------------------------------

    def rows(self) -> Iterator[Row]:
        """Yield the rows that were kept before."""
        with self.out.open("rb") as file:
            for line in file:
                yield json.loads(line)

    def add(self, piece: str, kept: Sequence[Row], left_out: Sequence[Row]) -> None:
        """Add what a piece of work came to; it is on the disk within a second of the next."""
        self._data.write(kept)
        self._left.write(left_out)
        line = {
            "piece": piece,
            "kept": len(kept),
            "dropped": dict(Counter(row["why"] for row in left_out)),
            "data": self._data.state(),
            "left": self._left.state(),
        }
        self._count(line)
        self._pending.append(as_line(line))
        if time.monotonic() - self._synced >= _SYNC_SECONDS:
            self.sync()

    def sync(self) -> None:
        """Write what is waiting: the rows first, then the lines that speak of them."""
        self._synced = time.monotonic()
        if not self._pending:
            return
        with _told(self.out):
            self._data.sync()
            self._left.sync()
            # Taken away before they are written: Ctrl+C in between must not write them twice.
            lines, self._pending = self._pending, []
            self._journal.write(b"".join(lines))
            self._flush_journal()

    def _flush_journal(self) -> None:
        self._journal.flush()
        os.fsync(self._journal.fileno())

    def _count(self, line: Row) -> None:
        self.done.add(line["piece"])
        self.kept += line["kept"]
        self.dropped.update(line["dropped"])


def as_line(row: Row) -> bytes:
    """Return a row as a line of JSON; half a surrogate pair, which UTF-8 has not, as “?”."""
    text = json.dumps(row, ensure_ascii=False)
    return text.encode("utf-8", "replace") + b"\n"


def _whole_lines(path: Path) -> tuple[list[Row], int]:
    """Return the lines of a journal, and where the last whole one ends."""
    data = path.read_bytes()
    end = data.rfind(b"\n") + 1
    try:
        return [json.loads(line) for line in data[:end].splitlines()], end
    except ValueError:
        raise _changed(path) from None


def _check_tail(path: Path, file: IO[bytes], run: str) -> None:
    """Check that what follows was written by this run: somebody else's rows are not cut off."""
    for line in file:
        if not line.endswith(b"\n"):
            return  # broken off in the middle
        try:
            ours = json.loads(line)["made"]["run"] == run
        except (ValueError, KeyError, TypeError):
            ours = False
        if not ours:
            raise _changed(path)


def _check_recipe(
    out: Path, before: dict[str, Any], now: dict[str, Any], changeable: Sequence[str]
) -> None:
    for name in (*before, *now):
        if name not in changeable and before.get(name) != now.get(name):
            was, wanted = (json.dumps(one.get(name), ensure_ascii=False) for one in (before, now))
            raise UsageError(
                f"“{visible_line(str(out))}” was begun with “{name}” {visible_line(was)}, and now "
                f"it is {visible_line(wanted)}: ask for the same, or name another --out."
            )


def _changed(path: Path) -> UsageError:
    return UsageError(
        f"“{visible_line(str(path))}” was changed since it was made, so that it cannot be gone on "
        "with: name another --out."
    )


@contextlib.contextmanager
def _told(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"“{visible_line(str(out))}” cannot be written ({error.strerror or error})."
        ) from error

"""Reading folders for the picker: in a worker thread, piece by piece."""

import os
import re
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from vlmchat.errors import UsageError
from vlmchat.text import visible_line

Order: TypeAlias = Literal["name", "newest"]

# The first piece is soon there, the later ones are larger, so that a large folder is not sorted
# again and again.
_FIRST_PIECE = 200
_SLOWEST = 0.1
_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of file that can be chosen.

    Attributes:
        name: in the plural, as “pictures”.
        suffixes: lower case, with the dot.
    """

    name: str
    suffixes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Entry:
    """A folder or a file in a list.

    Attributes:
        path: where it is.
        label: how it is shown; safe.
        folder: whether it can be entered.
        size: bytes.
        changed: seconds since 1970.
        key: sorts names as people do (``a2`` before ``a10``).
        suffix: of a file, lower case, with the dot.
        hidden: whether its name begins with a full stop.
    """

    path: Path
    label: str
    folder: bool
    size: int = 0
    changed: float = 0.0
    key: tuple[tuple[int, int | str], ...] = ()
    suffix: str = ""
    hidden: bool = False


def natural(name: str) -> tuple[tuple[int, int | str], ...]:
    """Return what sorts `name` without regard to case and with its numbers by their value."""
    return tuple(
        # Very long runs of digits are names, not numbers (and slow to convert).
        (0, int(part)) if part.isdecimal() and len(part) < 19 else (1, part.casefold())
        for part in _DIGITS.split(name)
        if part
    )


def in_order(entries: list[Entry], order: Order) -> list[Entry]:
    """Return `entries` sorted: folders first, then by name or the newest first."""
    if order == "newest":
        return sorted(entries, key=lambda entry: (not entry.folder, -entry.changed, entry.key))
    return sorted(entries, key=lambda entry: (not entry.folder, entry.key))


def scan(
    folder: Path,
    suffixes: frozenset[str],
    found: Callable[[list[Entry]], None],
    cancelled: Callable[[], bool] = lambda: False,
) -> None:
    """Read a folder and hand over its folders and files piece by piece; blocking.

    Args:
        folder: which.
        suffixes: the files that are wanted, by lower-case suffix.
        found: takes each piece; hidden entries are among them.
        cancelled: asked now and then whether nobody waits any more.

    Raises:
        UsageError: it cannot be read.
    """
    piece: list[Entry] = []
    size, told = _FIRST_PIECE, time.monotonic()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if cancelled():
                    return
                if (item := _entry(entry, suffixes)) is not None:
                    piece.append(item)
                late = piece and time.monotonic() - told > _SLOWEST * max(1, size / _FIRST_PIECE)
                if len(piece) >= size or late:
                    found(piece)
                    piece, size, told = [], size * 4, time.monotonic()
    except OSError as error:
        name = visible_line(str(folder))
        reason = error.strerror or str(error)
        raise UsageError(f"The folder “{name}” cannot be read ({reason}).") from None
    found(piece)


def _entry(entry: "os.DirEntry[str]", suffixes: frozenset[str]) -> Entry | None:
    try:
        folder = entry.is_dir()
        suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122
        if not folder and suffix not in suffixes:
            return None
        info = entry.stat()
        if not folder and not stat.S_ISREG(info.st_mode):
            return None
    except OSError:  # a link to nothing, or a folder that may not be looked into
        return None
    return Entry(
        Path(entry.path),
        visible_line(entry.name),
        folder,
        info.st_size,
        info.st_mtime,
        natural(entry.name),
        suffix,
        entry.name.startswith("."),
    )


def still_there(names: object) -> list[Path]:
    """Return those of `names` (from a store: whatever it held) that are folders; blocking."""
    listed = names if isinstance(names, list) else []
    found = (Path(name) for name in listed if isinstance(name, str) and "\0" not in name)
    return [path for path in found if path.is_absolute() and _is_folder(path)]


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False

"""What a batch is about: files, folders, patterns, lists, and rows with prompts of their own.

A row of a JSONL file is an object; these of its fields are read, others are left alone:

- ``image``, ``images``, ``video``, ``videos``: a path, or a list of paths; one that is relative
  begins at the JSONL file's folder. A row may have none.
- ``prompt``: what is asked; without it, the prompt of the whole batch.
- ``system``: the system prompt of this row, instead of that of the whole batch.
- ``id``: a text or a number by which the answer is found again; without it ``FILE:LINE``.
"""

import glob
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmchat.errors import UsageError
from vlmchat.text import visible_line

_MEDIA_FIELDS = ("image", "images", "video", "videos")
_LIST = "-"


@dataclass(frozen=True, slots=True)
class Row:
    """One thing to ask.

    Attributes:
        source: what it is called in the answers: the path as given, or the row's ``id``.
        media: pictures and videos; they may turn out to be missing or broken.
        prompt: what is asked.
        system: the system prompt; ``None`` for that of the batch.
    """

    source: str
    media: tuple[Path, ...]
    prompt: str
    system: str | None = None


def read_rows(
    arguments: Sequence[str], prompt: str | None, listed: Iterable[str] = ()
) -> list[Row]:
    """Return the rows that the arguments of ``vlmchat batch`` name, in order.

    Args:
        arguments: files, folders, patterns, ``rows.jsonl``, or ``-`` for `listed`.
        prompt: what is asked where a row does not say.
        listed: paths, one a line; read where an argument asks for it.

    Raises:
        UsageError: an argument names nothing, a row makes no sense, or there is no prompt.
    """
    rows: list[Row] = []
    for argument in arguments:
        if argument != _LIST and Path(argument).suffix.lower() == ".jsonl":
            rows += _own_rows(Path(argument), prompt)
            continue
        paths = _lines(listed) if argument == _LIST else _named(argument)
        if prompt is None:
            raise UsageError("There is no question: --prompt says what is asked of each picture.")
        rows += (Row(path, (Path(path),), prompt) for path in paths)
    if not rows:
        raise UsageError("There is nothing to ask about: name pictures, a folder, or rows.jsonl.")
    return rows


def _lines(listed: Iterable[str]) -> list[str]:
    return [line for line in (line.rstrip("\r\n") for line in listed) if line.strip()]


def _named(argument: str) -> list[str]:
    """Return the files that one argument names.

    Raises:
        UsageError: there are none.
    """
    from vlmchat.media.attaching import MEDIA_SUFFIXES

    path, shown = Path(argument), visible_line(argument)
    if path.is_dir():
        found = list(_inside(argument, MEDIA_SUFFIXES))
        if not found:
            raise UsageError(f"There is no picture and no video in “{shown}”.")
        return found
    if path.exists() or (path.suffix.lower() in MEDIA_SUFFIXES and not glob.has_magic(argument)):
        return [argument]  # one that has gone since the last time is a row with an error
    found = sorted(glob.glob(argument, recursive=True)) if glob.has_magic(argument) else []  # noqa: PTH207 - of any folder
    files = [name for name in found if Path(name).is_file()]
    if not files:
        raise UsageError(f"“{shown}” names no file: check the path, or put a pattern in quotes.")
    return files


def _inside(folder: str, suffixes: frozenset[str]) -> Iterator[str]:
    """Yield pictures and videos in a folder and the folders in it, sorted, hidden ones left out."""
    for base, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix.lower() in suffixes:
                yield str(Path(base) / name)


def _own_rows(path: Path, prompt: str | None) -> Iterator[Row]:
    """Yield the rows of a JSONL file.

    Raises:
        UsageError: it cannot be read, or a row makes no sense; names file and line.
    """
    name = visible_line(path.name)
    try:
        lines = path.read_text("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"“{name}” cannot be read ({_why(error)}).") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield _own_row(path, number, json.loads(line), prompt)
            except (ValueError, RecursionError):
                raise UsageError(f"“{name}”, line {number}: this is not JSON.") from None


def _own_row(path: Path, number: int, row: Any, prompt: str | None) -> Row:  # noqa: ANN401 - JSON
    where = f"“{visible_line(path.name)}”, line {number}"
    if not isinstance(row, dict):
        raise UsageError(f"{where}: this is no JSON object.")
    asked, system, own = row.get("prompt", prompt), row.get("system"), row.get("id")
    if not isinstance(asked, str) or not asked.strip():
        raise UsageError(f"{where}: there is no “prompt”; --prompt says what is asked otherwise.")
    if not isinstance(system, str | None):
        raise UsageError(f"{where}: “system” must be a text.")
    if isinstance(own, bool) or not isinstance(own, str | int | None):
        raise UsageError(f"{where}: “id” must be a text or a number.")
    media: list[Path] = []
    for field in _MEDIA_FIELDS:
        value = row.get(field)
        values = [] if value is None else value if isinstance(value, list) else [value]
        if not all(isinstance(item, str) and item for item in values):
            raise UsageError(f"{where}: “{field}” must be a path, or a list of paths.")
        media += (path.parent / item for item in values)
    source = f"{path}:{number}" if own is None else str(own)
    return Row(source, tuple(media), asked, system)


def _why(error: OSError | UnicodeDecodeError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text"
    return visible_line(error.strerror or str(error))

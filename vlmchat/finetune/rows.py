"""The rows of a log file, one after the other: JSONL, a JSON list, or one JSON object.

Only one row is in memory at a time (one block of a list besides), however large the file is.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from vlmchat.chat.formats.values import short, sound_value
from vlmchat.text import human_bytes

_BLOCK = 1 << 20
_BOM = b"\xef\xbb\xbf"
_SPACE = " \t\r\n"
_LOOKED_AT = 1000  # lines


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file.

    Attributes:
        line: where it begins, from 1.
        item: its number in a list, from 1; 0 when it stands in no list.
        value: what it holds, if it is JSON.
        error: one sentence otherwise.
    """

    line: int
    item: int = 0
    value: Any = None
    error: str = ""


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def rows_of(path: Path, max_row: int, max_whole: int) -> Iterator[Row]:
    """Yield the rows of the file at `path`.

    Args:
        path: a regular file.
        max_row: bytes of the largest row that is read; a larger one is told and passed over.
        max_whole: bytes of the largest file that is one JSON object.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        skipped = 0 if file.read(3) != _BOM else 3
        file.seek(skipped)
        first, lead = _first_byte(file)
        if first is None:
            yield Row(1, error="the file is empty.")
            return
        file.seek(skipped)
        if first == b"[":
            yield from _array(file, max_row)
        elif first == b"{" and (whole := _one_object(file, lead, max_row, max_whole)):
            yield whole
        else:
            file.seek(skipped)
            yield from _lines(file, max_row)


def _first_byte(file: IO[bytes]) -> tuple[bytes | None, int]:
    """Return the first byte that is not space, and how many line ends come before it."""
    lines = 0
    while block := file.read(_BLOCK):
        bare = block.lstrip()
        lines += block[: len(block) - len(bare)].count(b"\n")
        if bare:
            return bare[:1], lines
    return None, lines


def _one_object(file: IO[bytes], lead: int, max_row: int, max_whole: int) -> Row | None:
    """Return the object over many lines that the file is, or was before it was damaged."""
    start = file.tell()
    for _ in range(lead):
        file.readline()
    head = file.readline(max_row + 1).rstrip()
    try:
        _DECODER.decode(head.decode("utf-8").lstrip())
    except json.JSONDecodeError as error:
        # A line that is wrong before its end is a damaged row; one that breaks off may go on.
        if error.pos < len(error.doc) and not error.msg.startswith("Unterminated string"):
            return None
    except (ValueError, RecursionError):
        return None
    else:
        return None
    file.seek(start)
    data = file.read(max_whole + 1)
    if len(data) > max_whole:
        return None
    whole = _parsed(data, 1)
    return whole if not whole.error or not _has_rows(data) else None


def _has_rows(data: bytes) -> bool:
    """Return whether one of the first lines is an object by itself, as in JSONL."""
    lines = (line.strip() for line in data.split(b"\n", _LOOKED_AT)[:_LOOKED_AT])
    return any(
        line.startswith(b"{") and line.endswith(b"}") and not _parsed(line, 1).error
        for line in lines
    )


def _lines(file: IO[bytes], max_row: int) -> Iterator[Row]:
    number = 0
    while line := file.readline(max_row + 1):
        number += 1
        if len(line) > max_row:
            while line and not line.endswith(b"\n"):
                line = file.readline(_BLOCK)
            yield Row(number, error=f"the row has more than {human_bytes(max_row)}.")
        elif line.strip():
            yield _parsed(line, number)


def _parsed(data: bytes, line: int) -> Row:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return Row(line, error="it is not UTF-8 text.")
    try:
        value = _DECODER.decode(text.strip(_SPACE))
    except json.JSONDecodeError as error:
        at = line + error.lineno - 1
        return Row(at, error=f"it is not JSON: {_reason(error)}, column {error.colno}.")
    except (ValueError, RecursionError) as error:
        return Row(line, error=_unreadable(error))
    return _sound(text, Row(line, value=value))


def _sound(text: str, row: Row) -> Row:
    if "\\u" not in text:
        return row
    try:
        return Row(row.line, row.item, sound_value(row.value))
    except RecursionError as error:
        return Row(row.line, row.item, error=_unreadable(error))


def _reason(error: json.JSONDecodeError) -> str:
    return f"{error.msg[:1].lower()}{error.msg[1:]}"


def _unreadable(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply."
    return f"it is not JSON: {short(error)}."


class _Text:
    """What of a JSON list is in memory, and where it stands in the file."""

    def __init__(self, file: IO[bytes]) -> None:
        import codecs

        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self.text = ""
        self.at = 0
        self.line = 1
        self.ended = False

    def more(self) -> None:
        """Read on; what was passed is let go. As much is read as is held, so that it adds up."""
        self.text, self.at = self.text[self.at :], 0
        data = self._file.read(max(_BLOCK, len(self.text)))
        self.ended = not data
        self.text += self._decoder.decode(data, final=self.ended)

    def go(self, to: int) -> None:
        """Pass over text."""
        self.line += self.text.count("\n", self.at, to)
        self.at = to

    def skip(self) -> str:
        """Pass over space; return the sign that follows, empty at the end."""
        while True:
            to = self.at
            while to < len(self.text) and self.text[to] in _SPACE:
                to += 1
            self.go(to)
            if to < len(self.text) or self.ended:
                return self.text[to : to + 1]
            self.more()


def _array(file: IO[bytes], max_row: int) -> Iterator[Row]:
    text = _Text(file)
    item = 0
    try:
        text.skip()
        text.go(text.at + 1)
        if text.skip() == "]":
            yield Row(1, error="there is nothing in the list.")
            return
        while True:
            item += 1
            row = _item(text, item, max_row)
            yield row
            if row.error:
                return
            sign = text.skip()
            if sign != ",":
                break
            text.go(text.at + 1)
            text.skip()
        if sign != "]":
            yield Row(text.line, error="the list is cut off: “]” is missing.")
            return
        text.go(text.at + 1)
        if text.skip():
            yield Row(text.line, error="something follows the list.")
    except UnicodeDecodeError:
        yield Row(text.line, item, error="it is not UTF-8 text from here on.")


def _item(text: _Text, number: int, max_row: int) -> Row:
    """Return the item that begins here, reading on as long as it is not whole."""
    while True:
        try:
            value, end = _DECODER.raw_decode(text.text, text.at)
        except json.JSONDecodeError as error:
            # An error far before the end of what is held will not go away by reading on.
            cut = error.pos >= len(text.text) - 16 or error.msg.startswith("Unterminated string")
            if cut and not text.ended and len(text.text) - text.at <= max_row:
                text.more()
                continue
            line = text.line + text.text.count("\n", text.at, error.pos)
            return Row(line, number, error=f"it is not JSON: {_reason(error)}.")
        except (ValueError, RecursionError) as error:
            return Row(text.line, number, error=_unreadable(error))
        if end == len(text.text) and not text.ended:  # a number may go on
            text.more()
            continue
        row = _sound(text.text[text.at : end], Row(text.line, number, value))
        text.go(end)
        return row

"""The rows of a log file, one after the other: JSONL, a JSON list, or one JSON object.

Only one row is in memory at a time (one block of a list besides), however large the file is.
"""

import json
import re
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
_HEAD = 4096
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_MARKS = re.compile(_STRING + r'|[\[\]{}]|"', re.DOTALL)
_SCALAR = re.compile(f'(?:{_STRING}|[^,\\[\\]{{}}"])*+', re.DOTALL)


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
_NOT_A_LOG = (
    f"none of the first {_LOOKED_AT} lines can be read, so that the rest is not looked at: "
    "choose another file."
)


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
        if strange := _no_text(file.read(_HEAD)):
            yield Row(1, error=strange)
            return
        file.seek(0)
        skipped = 0 if file.read(3) != _BOM else 3
        file.seek(skipped)
        first, lead = _first_byte(file)
        if first is None:
            yield Row(1, error="the file is empty.")
            return
        file.seek(skipped)
        if first == b"[" and not _lists_in_lines(file, lead, max_row):
            file.seek(skipped)
            yield from _array(file, max_row)
            return
        file.seek(skipped)
        if first == b"{" and (whole := _one_object(file, lead, max_row, max_whole)):
            yield whole
            return
        file.seek(skipped)
        yield from _lines(file, max_row)


def _no_text(head: bytes) -> str:
    """Return what a file is that begins unlike JSON in UTF-8, as a sentence; else nothing."""
    zeros = head[::2].count(0), head[1::2].count(0)
    # Of Latin letters in UTF-16 every second byte is zero.
    latin = min(zeros) == 0 and max(zeros) * 4 > len(head) // 2
    if head.startswith(_UTF16) or (latin and max(zeros)):
        return "the file is UTF-16 text: save it as UTF-8."
    return "the file is not UTF-8 text." if max(zeros) else ""


def _lists_in_lines(file: IO[bytes], lead: int, max_row: int) -> bool:
    """Return whether the first line is a whole list and more lines follow, as in JSONL."""
    for _ in range(lead):
        file.readline()
    head = file.readline(max_row + 1)
    if not head.endswith(b"\n") or _parsed(head, 1).error:
        return False
    return _first_byte(file)[0] is not None


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
    begin = file.read(_BLOCK) + file.readline(max_row)
    if not _goes_on(begin):  # nor will it, however much follows: that need not be in memory
        return None if _has_rows(begin) else _parsed(begin, 1)
    file.seek(start)
    data = file.read(max_whole + 1)
    if len(data) > max_whole:
        return None
    whole = _parsed(data, 1)
    return whole if not whole.error or not _has_rows(data) else None


def _goes_on(begin: bytes) -> bool:
    """Return whether whole lines may be the beginning of one object."""
    try:
        _DECODER.decode(begin.decode("utf-8").strip(_SPACE))
    except json.JSONDecodeError as error:
        return error.pos >= len(error.doc)
    except (ValueError, RecursionError):
        return False
    return True


def _has_rows(data: bytes) -> bool:
    """Return whether one of the first lines is an object by itself, as in JSONL."""
    lines = (line.strip() for line in data.split(b"\n", _LOOKED_AT)[:_LOOKED_AT])
    return any(
        line.startswith(b"{") and line.endswith(b"}") and not _parsed(line, 1).error
        for line in lines
    )


def _lines(file: IO[bytes], max_row: int) -> Iterator[Row]:
    number = 0
    bad = 0
    while line := file.readline(max_row + 1):
        number += 1
        if len(line) > max_row:
            while line and not line.endswith(b"\n"):
                line = file.readline(_BLOCK)
            row = Row(number, error=f"the row has more than {human_bytes(max_row)}.")
        elif line.strip():
            row = _parsed(line, number)
        else:
            continue
        yield row
        if bad >= 0:
            bad = bad + 1 if row.error else -1  # one good row, and the file is read to its end
        if bad >= _LOOKED_AT:
            yield Row(number, error=_NOT_A_LOG)
            return


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
            if row.error and not _pass_over(text, max_row):
                yield Row(text.line, error="the rest of the list cannot be read.")
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


def _pass_over(text: _Text, max_row: int) -> bool:
    """Pass over an item that is not JSON; return whether where it ends can be told."""
    while not text.ended and len(text.text) == text.at:
        text.more()
    if text.text[text.at : text.at + 1] not in ("{", "["):
        found = _SCALAR.match(text.text, text.at)
        text.go(found.end() if found else text.at)
        return text.skip() in (",", "]")
    searched, depth = text.at, 0
    while True:
        for match in _MARKS.finditer(text.text, searched):
            sign = match.group()
            if sign == '"':
                break  # a string that has not ended yet
            depth += (sign in ("{", "[")) - (sign in ("}", "]"))
            searched = match.end()
            if depth == 0:
                text.go(searched)
                return text.skip() in (",", "]")
        if text.ended or len(text.text) - text.at > max_row:
            return False
        passed = searched - text.at
        text.more()
        searched = text.at + passed

"""Reads conversations from a file of any format that is known, recognised by what is in it."""

import json
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

from vlmchat.chat.conversation import Conversation
from vlmchat.chat.formats import chatgpt, foreign, own
from vlmchat.chat.formats.sources import Archive, Files, Folder, Sources, read_file
from vlmchat.chat.formats.values import (
    DEFAULT_LIMITS,
    BadRow,
    ImportReport,
    Limits,
    MakeMedia,
    Problem,
    Videos,
    dict_of,
    list_of,
    short,
    sound_value,
)
from vlmchat.errors import VlmchatError

_SPACE = " \t\r\n"
_NOT_UTF8 = re.compile("[\udc80-\udcff]")
_EXPORTED = re.compile(r"conversations(-\d+)?\.json", re.IGNORECASE)
_MakeSources: TypeAlias = Callable[[Files], Sources]
KNOWN = (
    "JSON or JSONL of vlmchat, chat messages (OpenAI, TRL, SmolVLM course), ShareGPT, LLaVA, "
    "or ChatGPT's export"
)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of a file: where it begins, and its value or what is wrong with it.

    Attributes:
        item: its number in a list, from 1; 0 when it stands in no list.
    """

    line: int
    value: Any = None
    error: str = ""
    item: int = 0

    def problem(self, file: str, reason: str) -> Problem:
        """Return what is wrong with it as a problem."""
        return Problem(file, self.line, f"item {self.item}: {reason}" if self.item else reason)


@dataclass(slots=True)
class _Reader:
    """What has been read so far."""

    sources: Sources
    conversations: list[Conversation] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def report(self) -> ImportReport:
        return ImportReport(tuple(self.conversations), tuple(self.problems), tuple(self.notes))


def read_conversations(
    path: Path,
    make_media: MakeMedia,
    limits: Limits = DEFAULT_LIMITS,
    videos: Videos | None = None,
) -> ImportReport:
    """Read every conversation in a file, an archive of ChatGPT's, or its folder.

    Text that UTF-8 cannot hold (half a surrogate pair, written as an escape) becomes U+FFFD.

    Args:
        path: the file; paths of media in it are relative to its folder.
        make_media: checks the bytes of a picture.
        limits: what is refused.
        videos: how videos are read; rows that have some are problems without.

    Returns:
        What could be read, and a problem for each row that could not.
    """
    shown = str(path)

    def sources(files: Files) -> Sources:
        return Sources(files, make_media, limits, videos)

    try:
        if path.is_dir():
            return _folder(path, sources, limits)
        # Asked before it is opened: opening a pipe would wait for somebody to write into it.
        if path.exists() and not path.is_file():
            raise BadRow("it is not a regular file.")
        with path.open("rb") as file:
            packed = file.read(4) == b"PK\x03\x04"
        if packed:
            return _archive(path, sources, limits)
        reader = _Reader(sources(Folder(path.parent, limits)))
        _read_text(reader, shown, read_file(path, limits.max_bytes))
    except FileNotFoundError:
        return ImportReport(problems=(Problem(shown, None, "it does not exist: check the path."),))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        reason = f"it cannot be read ({short(why)})."
        return ImportReport(problems=(Problem(shown, None, reason),))
    except VlmchatError as error:
        return ImportReport(problems=(Problem(shown, None, str(error)),))
    return reader.report()


def _folder(path: Path, sources: _MakeSources, limits: Limits) -> ImportReport:
    found = sorted(item for item in path.iterdir() if _EXPORTED.fullmatch(item.name))
    if not found:
        raise BadRow("it is a folder without conversations.json: name a file in it.")
    reader = _Reader(sources(Folder(path, limits)))
    for item in found:
        _read_text(reader, str(item), read_file(item, limits.max_bytes))
    return reader.report()


def _archive(path: Path, sources: _MakeSources, limits: Limits) -> ImportReport:
    try:
        with zipfile.ZipFile(path) as opened:
            archive = Archive(opened, limits)
            found = sorted(
                name for name in archive.names() if _EXPORTED.fullmatch(PurePosixPath(name).name)
            )
            if not found:
                raise BadRow("it is an archive without conversations.json.")
            reader = _Reader(sources(archive))
            texts = [(name, archive.read(name, limits.max_bytes)) for name in found]
            archive.inside = str(PurePosixPath(found[0]).parent).removeprefix(".")
            for name, data in texts:
                _read_text(reader, f"{path}/{name}", data)
            return reader.report()
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise BadRow(f"it is a damaged archive ({short(error)}).") from None


# Rows ------------------------------------------------------------------------------------------


def _read_text(reader: _Reader, file: str, data: bytes) -> None:
    # Bytes that are not UTF-8 stay recognisable, so that their row is told and not the file.
    text = data.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    if not text.strip(_SPACE):
        reader.problems.append(Problem(file, None, "it is empty."))
        return
    for row in _rows(text):
        if row.error:
            reader.problems.append(row.problem(file, row.error))
        else:
            _take(reader, file, row)


def _rows(text: str) -> Iterator[_Row]:
    start = _skip(text, 0)
    if text[start] == "[":
        yield from _array(text, start)
        return
    line_end = text.find("\n", start)
    head = text[start:] if line_end < 0 else text[start:line_end]
    first = _parse(head, 1)
    if first.error and text[start] == "{":
        whole = _parse(text[start:], 1 + text.count("\n", 0, start))
        if not whole.error or not _any_object_line(text, line_end):
            yield whole
            return
    yield from _lines(text)


def _any_object_line(text: str, start: int) -> bool:
    """Return whether some later line is an object by itself, as in JSONL."""
    while start >= 0:
        end = text.find("\n", start + 1)
        line = text[start + 1 : end if end >= 0 else None].strip(_SPACE)
        if line.startswith("{") and line.endswith("}") and not _parse(line, 1).error:
            return True
        start = end
    return False


def _lines(text: str) -> Iterator[_Row]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip(_SPACE):
            yield _parse(line, number)


def _array(text: str, start: int) -> Iterator[_Row]:
    """Yield the items of a JSON array one by one, with the line that each begins at."""
    at, line, counted = _skip(text, start + 1), 1, 0
    items: list[_Row] = []
    if at < len(text) and text[at] == "]":
        yield _Row(1, error="there is no conversation in it.")
        return
    while True:
        line += text.count("\n", counted, at)
        counted = at
        try:
            value, end = _DECODER.raw_decode(text, at)
        except json.JSONDecodeError as error:
            yield from items
            yield _Row(error.lineno, error=f"it is not JSON: {_reason(error)}.")
            return
        except (ValueError, RecursionError) as error:
            yield from items
            yield _Row(line, error=_unreadable(error), item=len(items) + 1)
            return
        items.append(replace(_checked(text[at:end], line, value), item=len(items) + 1))
        at = _skip(text, end)
        if at < len(text) and text[at] == ",":
            at = _skip(text, at + 1)
            continue
        line += text.count("\n", counted, at)
        closed = at < len(text) and text[at] == "]"
        if _is_one(items) and closed:
            yield _Row(items[0].line, {"messages": [item.value for item in items]})
        else:
            yield from items
        if not closed:
            yield _Row(line, error="the list is cut off: “]” is missing.")
        elif _skip(text, at + 1) < len(text):
            yield _Row(line, error="something follows the list.")
        return


def _is_one(items: list[_Row]) -> bool:
    """Return whether the items are the messages of one conversation."""
    return all(
        isinstance(item.value, dict) and "role" in item.value and "content" in item.value
        for item in items
    )


def _parse(text: str, line: int) -> _Row:
    """Return the JSON value in `text`, which begins at `line`."""
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        if _NOT_UTF8.search(text):
            return _Row(line, error="it is not UTF-8 text.")
        return _Row(line + error.lineno - 1, error=f"it is not JSON: {_reason(error)}.")
    except (ValueError, RecursionError) as error:
        return _Row(line, error=_unreadable(error))
    return _checked(text, line, value)


def _checked(text: str, line: int, value: object) -> _Row:
    if _NOT_UTF8.search(text):
        return _Row(line, error="it is not UTF-8 text.")
    try:
        return _Row(line, sound_value(value) if "\\u" in text else value)
    except RecursionError as error:
        return _Row(line, error=_unreadable(error))


def _reason(error: json.JSONDecodeError) -> str:
    return f"{error.msg[:1].lower()}{error.msg[1:]}, column {error.colno}"


def _unreadable(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply."
    return f"it is not JSON: {short(error)}."


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


# Formats ---------------------------------------------------------------------------------------


def _take(reader: _Reader, file: str, row: _Row) -> None:
    """Add what is in a row, or what is wrong with it."""
    if isinstance(row.value, dict) and row.value.get("format") == "vlmchat":
        _take_ours(reader, file, row)
        return
    try:
        conversation, notes = _conversation(row.value, reader.sources)
    except VlmchatError as error:
        reader.problems.append(row.problem(file, str(error)))
    except RecursionError as error:
        reader.problems.append(row.problem(file, _unreadable(error)))
    else:
        reader.conversations.append(conversation)
        reader.notes += notes


def _take_ours(reader: _Reader, file: str, row: _Row) -> None:
    try:
        own.check_version(row.value)
        media = own.MediaTable(dict_of(row.value.get("media", {}), "“media”"), reader.sources)
        found = list_of(row.value.get("conversations"), "“conversations”")
    except VlmchatError as error:
        reader.problems.append(row.problem(file, str(error)))
        return
    for number, item in enumerate(found, 1):
        try:
            about = dict_of(item, "It")
            reader.conversations.append(own.from_record(about, media))
        except VlmchatError as error:
            reason = f"conversation {number}: {error}"
            reader.problems.append(row.problem(file, reason))


def _conversation(value: object, sources: Sources) -> tuple[Conversation, list[str]]:
    row = dict_of(value, "The row")
    if isinstance(row.get("vlmchat"), dict):
        return own.from_jsonl(row, sources), []
    if "mapping" in row:
        return chatgpt.from_chatgpt(row, sources)
    if "conversations" in row:
        return foreign.from_turns(row, sources), []
    if "messages" in row:
        return foreign.from_messages(row, sources), []
    if "prompt" in row and ("completion" in row or "chosen" in row):
        return foreign.from_training(row, sources), []
    keys = ", ".join(short(key) for key in list(row)[:5])
    raise BadRow(f"The row has {keys or 'nothing'}; what is read is {KNOWN}.")

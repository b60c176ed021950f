"""Writes conversations to a file: whole or not at all, and never over another file unasked."""

import contextlib
import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from vlmchat.chat.conversation import Conversation
from vlmchat.chat.formats import html, markdown, own, training
from vlmchat.chat.formats.sources import suffix_of
from vlmchat.chat.formats.values import Link, short, sound
from vlmchat.chat.messages import Media
from vlmchat.chat.openai import data_url
from vlmchat.errors import UsageError, VlmchatError

Format: TypeAlias = Literal["markdown", "html", "json", "jsonl", "sft", "kto", "preference"]
Placing: TypeAlias = Literal["embed", "beside"]
FORMATS: tuple[Format, ...] = get_args(Format)
SUFFIXES: dict[Format, str] = {
    "markdown": ".md",
    "html": ".html",
    "json": ".json",
    **{"jsonl": ".jsonl", "sft": ".jsonl", "kto": ".jsonl", "preference": ".jsonl"},
}
_TRAINING = get_args(training.Training)
# One file is what these are for; the others are read by programs that want small rows.
_EMBEDDED = frozenset({"html", "json"})


class FileExistsAlreadyError(UsageError):
    """A file is in the way, and it was not said that it may be replaced."""

    code = "file_exists"


class ExportError(VlmchatError):
    """The file cannot be written."""

    code = "export_error"


@dataclass(frozen=True, slots=True)
class Written:
    """What an export has written.

    Attributes:
        path: the file.
        count: conversations, or rows of a training set.
        pictures: files in the folder beside it.
        folder: that folder; ``None`` when there is no picture beside the file.
    """

    path: Path
    form: Format
    count: int
    pictures: int
    folder: Path | None

    def __str__(self) -> str:
        """Return one sentence."""
        kind = "row" if self.form in _TRAINING else "conversation"
        many = f"{self.count} {kind}{'' if self.count == 1 else 's'}"
        beside = ""
        if self.folder is not None:
            pictures = "picture" if self.pictures == 1 else "pictures"
            beside = f", {self.pictures} {pictures} in {short(self.folder)}"
        return f"{many} written to {short(self.path)}{beside}."


def format_named(name: str) -> Format:
    """Return the format called `name`; ``md`` and a suffix's other names are understood.

    Raises:
        UsageError: there is none.
    """
    wanted = {"md": "markdown", "htm": "html"}.get(name.lower(), name.lower())
    for known in FORMATS:
        if known == wanted:
            return known
    raise UsageError(f"There is no format “{short(name)}”: use {', '.join(FORMATS)}.")


def embedded(media: Media) -> str:
    """Return a picture as a data: URL."""
    return data_url(media.mime, media.data)


def chunks(
    form: Format, conversations: Sequence[Conversation], link: Link, *, every: bool = False
) -> Iterator[str]:
    """Yield the text of an export; the rows of training sets and of JSONL are one chunk each."""
    if form == "markdown":
        yield from markdown.markdown_chunks(conversations, link)
    elif form == "html":
        yield from html.html_chunks(conversations, link)
    elif form == "json":
        yield from own.json_chunks(conversations, link)
    elif form == "jsonl":
        yield from (own.jsonl_row(item, link) for item in conversations)
    else:
        yield from training.training_rows(conversations, form, link, every=every)


def export_to(
    path: Path,
    form: Format,
    conversations: Sequence[Conversation],
    *,
    media: Placing | None = None,
    force: bool = False,
    every: bool = False,
) -> Written:
    """Write conversations to a file.

    Args:
        path: the file.
        form: the format.
        conversations: what is written.
        media: pictures inside the file, or in ``NAME_media/`` beside it by their hash. By default
            inside for HTML and JSON, beside for the others.
        force: an existing file is replaced.
        every: as in `vlmchat.chat.formats.training.training_rows`.

    Raises:
        FileExistsAlreadyError: the file exists.
        UsageError: there is nothing to write.
        ExportError: the disk is full, or the folder not writable.
        VlmchatError: a picture cannot be read any more.
    """
    if form == "html" and media == "beside":
        raise UsageError("HTML is one file with its pictures inside: leave “beside” out.")
    placing = media or ("embed" if form in _EMBEDDED else "beside")
    if not force and (path.exists() or path.is_symlink()):
        raise _exists(path)
    if path.is_dir():
        raise UsageError(f"“{short(path)}” is a folder: name a file in it.")
    beside = _Beside(path.with_name(f"{path.stem}_media"))
    link: Link = beside.put if placing == "beside" else embedded
    try:
        with _removed_unless_done(beside):
            count = _write_whole(path, _counted(form, conversations, link, every), force)
    except OSError as error:
        raise ExportError(
            f"“{short(path)}” could not be written ({error.strerror or error})."
        ) from error
    written = len(beside.known)
    number = count if form in _TRAINING else len(conversations)
    return Written(path, form, number, written, beside.folder if written else None)


def check_rows(form: Format, rows: int) -> None:
    """Refuse to write a training set without rows.

    Raises:
        UsageError: there are none; the sentence says what makes some.
    """
    if form in _TRAINING and not rows:
        what = {
            "sft": "no complete reply is rated good or corrected",
            "kto": "no reply is rated good or bad",
            "preference": "no reply is better than another version, and none is corrected",
        }[form]
        raise UsageError(f"There is nothing to write: {what}.")


def _exists(path: Path) -> FileExistsAlreadyError:
    return FileExistsAlreadyError(f"“{short(path)}” exists already: choose another name.")


def _counted(
    form: Format, conversations: Sequence[Conversation], link: Link, every: bool
) -> Iterator[str]:
    rows = 0
    for chunk in chunks(form, conversations, link, every=every):
        rows += 1
        yield chunk
    check_rows(form, rows)


def _write_whole(path: Path, text: Iterator[str], force: bool) -> int:
    """Write a file under another name and rename it when it is on the disk; return the chunks."""
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(6)}.part")
    count = 0
    try:
        with _new(temporary) as descriptor, os.fdopen(descriptor, "wb") as file:
            for chunk in text:
                file.write(sound(chunk).encode("utf-8"))
                count += 1
            file.flush()
            os.fsync(file.fileno())
        _take_name(temporary, path, force)
    finally:
        temporary.unlink(missing_ok=True)
    return count


@contextlib.contextmanager
def _new(path: Path) -> Iterator[int]:
    """Yield a new file, with the permissions that new files of this person get."""
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
    yield os.open(path, flags, 0o666)


def _take_name(temporary: Path, path: Path, force: bool) -> None:
    if force:
        temporary.replace(path)
        return
    try:
        os.link(temporary, path)  # unlike a rename, this never replaces a file
    except FileExistsError:
        raise _exists(path) from None
    except (OSError, NotImplementedError):  # a file system without links
        if path.exists():
            raise _exists(path) from None
        temporary.rename(path)


class _Beside:
    """The folder of pictures beside a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.known: set[str] = set()
        self._made: list[Path] = []
        self._made_folder = False

    def put(self, media: Media) -> str:
        """Write a picture unless it is there; return its path relative to the file."""
        name = f"{media.sha256}{suffix_of(media.mime)}"
        if name not in self.known:
            data = media.data
            if not self.folder.exists():
                self.folder.mkdir()
                self._made_folder = True
            target = self.folder / name
            # A file named by its hash holds the same bytes, unless it was cut off or changed.
            if not target.exists() or target.read_bytes() != data:
                self._write(target, data)
            self.known.add(name)
        return f"{self.folder.name}/{name}"

    def _write(self, target: Path, data: bytes) -> None:
        temporary = target.with_name(f".{secrets.token_hex(6)}.part")
        try:
            with _new(temporary) as descriptor, os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            existed = target.exists()
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        if not existed:
            self._made.append(target)

    def undo(self) -> None:
        """Remove what was written."""
        for path in self._made:
            path.unlink(missing_ok=True)
        if self._made_folder:
            with contextlib.suppress(OSError):
                self.folder.rmdir()


@contextlib.contextmanager
def _removed_unless_done(beside: _Beside) -> Iterator[None]:
    try:
        yield
    except BaseException:
        beside.undo()
        raise

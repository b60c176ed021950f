"""Writes conversations to a file: whole or not at all, and never over another file unasked."""

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from vlmchat.chat.conversation import Conversation
from vlmchat.chat.formats import html, markdown, own, training
from vlmchat.chat.formats.sources import suffix_of
from vlmchat.chat.formats.values import Link, Views, short, sound
from vlmchat.chat.messages import Media
from vlmchat.chat.openai import data_url
from vlmchat.errors import MediaError, UsageError, VlmchatError
from vlmchat.text import human_bytes

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
# Larger media are not written into a file: it would have to be read whole again, as text.
MOST_EMBEDDED = 200_000_000
_PIECE = 1 << 20


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
        pictures: pictures in the folder beside it.
        folder: that folder; ``None`` when there is nothing beside the file.
        videos: videos in that folder.
    """

    path: Path
    form: Format
    count: int
    pictures: int
    folder: Path | None
    videos: int = 0

    def __str__(self) -> str:
        """Return one sentence."""
        kind = "row" if self.form in _TRAINING else "conversation"
        many = f"{self.count} {kind}{'' if self.count == 1 else 's'}"
        beside = ""
        if self.folder is not None:
            counts = (("picture", self.pictures), ("video", self.videos))
            media = [
                f"{count} {name}{'' if count == 1 else 's'}" for name, count in counts if count
            ]
            beside = f", {' and '.join(media)} in {short(self.folder)}"
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
    """Return a picture or a video as a data: URL.

    Raises:
        UsageError: it is too large to stand in a file.
    """
    if media.size > MOST_EMBEDDED:
        size, most = human_bytes(media.size), human_bytes(MOST_EMBEDDED)
        raise UsageError(
            f"“{short(media.name)}” has {size}, and at most {most} are written into a file: "
            "export to a file with the media beside it."
        )
    return data_url(media.mime, media.data)


def chunks(
    form: Format,
    conversations: Sequence[Conversation],
    link: Link,
    *,
    every: bool = False,
    views: Views | None = None,
) -> Iterator[str]:
    """Yield the text of an export; the rows of training sets and of JSONL are one chunk each.

    Args:
        form: the format.
        conversations: what is written.
        link: what stands for a picture or a video.
        every: as in `vlmchat.chat.formats.training.training_rows`.
        views: what HTML shows of videos and of parts of pictures; words where there are none.
    """
    if form == "markdown":
        yield from markdown.markdown_chunks(conversations, link)
    elif form == "html":
        yield from html.html_chunks(conversations, link, views)
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
    views: Views | None = None,
) -> Written:
    """Write conversations to a file.

    Args:
        path: the file.
        form: the format.
        conversations: what is written.
        media: pictures and videos inside the file, or in ``NAME_media/`` beside it by their hash.
            By default inside for HTML and JSON (if none is too large for that), beside for the
            others. HTML has the frames of videos inside, not the videos.
        force: an existing file is replaced.
        every: as in `vlmchat.chat.formats.training.training_rows`.
        views: as in `chunks`.

    Raises:
        FileExistsAlreadyError: the file exists.
        UsageError: there is nothing to write.
        ExportError: the disk is full, or the folder not writable.
        VlmchatError: a medium cannot be read any more, or has changed.
    """
    if form == "html" and media == "beside":
        raise UsageError("HTML is one file with its pictures inside: leave “beside” out.")
    placing = media or _usual(form, conversations)
    if not force and (path.exists() or path.is_symlink()):
        raise _exists(path)
    if path.is_dir():
        raise UsageError(f"“{short(path)}” is a folder: name a file in it.")
    beside = _Beside(path.with_name(f"{path.stem}_media"))
    link: Link = beside.put if placing == "beside" else embedded
    try:
        with _removed_unless_done(beside):
            text = chunks(form, conversations, link, every=every, views=views)
            count = _write_whole(path, _counted(form, text), force)
    except OSError as error:
        raise ExportError(
            f"“{short(path)}” could not be written ({error.strerror or error})."
        ) from error
    number = count if form in _TRAINING else len(conversations)
    folder = beside.folder if beside.known else None
    pictures = len(beside.known) - beside.videos
    return Written(path, form, number, pictures, folder, beside.videos)


def _usual(form: Format, conversations: Sequence[Conversation]) -> Placing:
    if form not in _EMBEDDED:
        return "beside"
    media = (item for it in conversations for entry in it.entries for item in entry.message.media)
    large = form == "json" and any(item.size > MOST_EMBEDDED for item in media)
    return "beside" if large else "embed"


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


def _counted(form: Format, text: Iterable[str]) -> Iterator[str]:
    rows = 0
    for chunk in text:
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
    """The folder of media beside a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.known: set[str] = set()
        self.videos = 0
        self._made: list[Path] = []
        self._made_folder = False

    def put(self, media: Media) -> str:
        """Write a medium unless it is there; return its path relative to the file."""
        name = f"{media.sha256}{suffix_of(media.mime)}"
        if name not in self.known:
            if not self.folder.exists():
                self.folder.mkdir()
                self._made_folder = True
            target = self.folder / name
            # A file named by its hash holds the same bytes, unless it was cut off or changed.
            if not _holds(target, media):
                self._write(target, media)
            self.known.add(name)
            self.videos += media.file is not None
        return f"{self.folder.name}/{name}"

    def _write(self, target: Path, media: Media) -> None:
        temporary = target.with_name(f".{secrets.token_hex(6)}.part")
        try:
            with _new(temporary) as descriptor, os.fdopen(descriptor, "wb") as file:
                for piece in _pieces(media):
                    file.write(piece)
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


def _holds(path: Path, media: Media) -> bool:
    """Return whether a file is a medium, whole and unchanged."""
    if not path.is_file() or path.stat().st_size != media.size:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == media.sha256


def _pieces(media: Media) -> Iterator[bytes]:
    """Yield the bytes of a medium; a video may be larger than the memory.

    Raises:
        MediaError: it is gone, or is not what it was.
    """
    if media.file is None:
        yield media.data
        return
    digest = hashlib.sha256()
    try:
        with media.file.open("rb") as source:
            while piece := source.read(_PIECE):
                digest.update(piece)
                yield piece
    except OSError as error:
        why = error.strerror or error
        raise MediaError(f"“{short(media.name)}” cannot be read any more ({why}).") from error
    if digest.hexdigest() != media.sha256:
        raise MediaError(f"“{short(media.name)}” has changed since it was attached.")


@contextlib.contextmanager
def _removed_unless_done(beside: _Beside) -> Iterator[None]:
    try:
        yield
    except BaseException:
        beside.undo()
        raise

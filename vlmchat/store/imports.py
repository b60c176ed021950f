"""Conversations from files into the store: all of them or none."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vlmchat.chat.conversation import Conversation
from vlmchat.chat.formats.reading import read_conversations
from vlmchat.chat.formats.values import ImportReport, Limits, Problem
from vlmchat.errors import UsageError
from vlmchat.media.for_formats import import_limits, videos
from vlmchat.media.images import media_from_bytes
from vlmchat.store.store import Store


class BadImportError(UsageError):
    """A file has problems, and nothing of it was imported.

    Attributes:
        problems: each with file, line and reason.
    """

    code = "import_error"

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(f"{problems[0]}{more} Nothing was imported.")


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did.

    Attributes:
        threads: ids of the new conversations.
        known: how many were left out because they are here already.
        problems: what was skipped, since that was asked for.
        notes: what was left out of the conversations.
        dry: nothing was written; `count` says what would be.
        count: conversations that were imported, or would be.
    """

    threads: tuple[int, ...]
    known: int
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    dry: bool
    count: int

    def __str__(self) -> str:
        """Return one sentence."""
        would = "would be " if self.dry else ""
        parts = [f"{_many(self.count)} {would}imported"]
        if self.known:
            parts.append(f"{self.known} {would}skipped, already here")
        if self.problems:
            rows = "row" if len(self.problems) == 1 else "rows"
            parts.append(f"{len(self.problems)} bad {rows} skipped")
        return "; ".join(parts) + "."


def _many(count: int) -> str:
    return f"{count} conversation{'' if count == 1 else 's'}"


def import_from(
    paths: Sequence[Path],
    store: Store,
    *,
    skip_bad: bool = False,
    again: bool = False,
    dry: bool = False,
    limits: Limits | None = None,
) -> Imported:
    """Import the conversations of files, in one transaction.

    Args:
        paths: files of any format that `read_conversations` knows.
        store: where they go.
        skip_bad: rows with problems are left out; otherwise one problem stops everything.
        again: conversations that are here already are imported as copies.
        dry: nothing is written.
        limits: what files may cost; by default what the settings say.

    Raises:
        BadImportError: there are problems, and `skip_bad` is not asked for.
        StoreError: the store cannot be written; nothing was.
    """
    # Videos that come packed are unpacked to the disk, until the store has them.
    with tempfile.TemporaryDirectory(prefix="vlmchat-import-") as scratch:
        report = _read(paths, limits or import_limits(), Path(scratch))
        if report.problems and not skip_bad:
            raise BadImportError(report.problems)
        new = report.conversations if again else _unknown(report.conversations, store)
        threads = () if dry else tuple(store.restore(*new))
    known = len(report.conversations) - len(new)
    return Imported(threads, known, report.problems, report.notes, dry, len(new))


def _read(paths: Sequence[Path], limits: Limits, scratch: Path) -> ImportReport:
    reports: list[ImportReport] = []
    for number, path in enumerate(paths):
        folder = scratch / str(number)
        folder.mkdir()
        reports.append(read_conversations(path, media_from_bytes, limits, videos(folder)))
    return ImportReport(
        tuple(item for found in reports for item in found.conversations),
        tuple(item for found in reports for item in found.problems),
        tuple(item for found in reports for item in found.notes),
    )


def _unknown(found: Sequence[Conversation], store: Store) -> list[Conversation]:
    seen: set[str] = set()
    new: list[Conversation] = []
    for item in found:
        if item.uid not in seen and store.find(item.uid) is None:
            new.append(item)
        seen.add(item.uid)
    return new

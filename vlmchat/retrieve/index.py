"""What was seen in the pictures of a folder, kept beside them.

The engine keeps the features themselves (`vlmchat.engine.caching.features`: a file a picture, found
by content, tile plan and weights). This module says where, remembers which contents belong to
which files, and deletes what belongs to none any more.
"""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from vlmchat import paths
from vlmchat.errors import ModelError
from vlmchat.models.safetensors_header import read_metadata
from vlmchat.text import visible_line

HIDDEN_NAME = ".vlmchat-index"
_VERSION = 1
_LIST = "index.json"
# So that neither git nor a backup takes it for the person's own (https://bford.info/cachedir/).
_MARKS = {
    ".gitignore": "*\n",
    "CACHEDIR.TAG": "Signature: 8a477f597d28d172789f06886806bc55\n# Made by vlmchat find.\n",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A file that was looked at.

    Attributes:
        size: bytes.
        changed: time of change, nanoseconds.
        contents: SHA-256 of each picture that was sent of it: one of a picture, several of a video.
    """

    size: int
    changed: int
    contents: tuple[str, ...]


class FolderIndex:
    """The index of one folder; blocking.

    Args:
        folder: whose pictures are searched.
        home: where the index lies.
    """

    def __init__(self, folder: Path, home: Path) -> None:
        self._folder, self.home = folder, home
        self._entries = _read(home / _LIST)

    @classmethod
    def open(cls, folder: Path) -> tuple[Self, str]:
        """Return the index beside the pictures of a folder, or else one in the cache folder.

        Returns:
            The index, and a sentence if it does not lie beside the pictures; else empty.

        Raises:
            VlmchatError: the cache folder cannot be made either.
        """
        folder = folder.resolve()
        home = folder / HIDDEN_NAME
        try:
            _prepare(home)
        except OSError as error:
            why = error.strerror or str(error)
            digest = hashlib.sha256(os.fsencode(folder)).hexdigest()
            home = paths.cache_dir() / "find" / digest[:32]
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            shown = visible_line(str(folder))
            return cls(folder, home), (
                f"“{shown}” cannot be written to ({why}): its index is kept in {home}."
            )
        return cls(folder, home), ""

    @property
    def features(self) -> Path:
        """The folder that the engine keeps features in."""
        return self.home / "features"

    @property
    def files(self) -> int:
        """How many files are known."""
        return len(self._entries)

    def note(self, path: Path, contents: Iterable[str]) -> None:
        """Remember what was sent of a file."""
        with contextlib.suppress(OSError):  # it went away meanwhile
            stat = path.stat()
            self._entries[self._name(path)] = Entry(stat.st_size, stat.st_mtime_ns, tuple(contents))

    def close(self) -> int:
        """Write the list, and delete what belongs to no file any more; return how much that was.

        What cannot be written or deleted stays as it was.
        """
        self._entries = {
            name: entry for name, entry in self._entries.items() if self._as_it_was(name, entry)
        }
        rows = {name: asdict(entry) for name, entry in sorted(self._entries.items())}
        text = json.dumps({"version": _VERSION, "files": rows}, indent=0)
        with contextlib.suppress(OSError):
            _write(self.home / _LIST, text)
            return self._sweep()
        return 0

    def _name(self, path: Path) -> str:
        return os.path.relpath(path.resolve(), self._folder)

    def _as_it_was(self, name: str, entry: Entry) -> bool:
        try:
            stat = (self._folder / name).stat()
        except (OSError, ValueError):
            return False
        return (stat.st_size, stat.st_mtime_ns) == (entry.size, entry.changed)

    def _sweep(self) -> int:
        needed = {content for entry in self._entries.values() for content in entry.contents}
        deleted = 0
        for file in self.features.glob("*.safetensors"):
            try:
                content = read_metadata(file).get("key", "").partition(" ")[0]
            except ModelError:  # damaged, or just being replaced
                content = ""
            if content not in needed:
                file.unlink(missing_ok=True)
                deleted += 1
        return deleted


def _prepare(home: Path) -> None:
    """Make the folder, and see whether it can be written to.

    Raises:
        OSError: it cannot.
    """
    home.mkdir(mode=0o700, exist_ok=True)
    for name, text in _MARKS.items():
        if not (home / name).exists():
            _write(home / name, text)
    with tempfile.TemporaryFile(dir=home):
        pass


def _write(path: Path, text: str) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _read(path: Path) -> dict[str, Entry]:
    """Return the entries of a list; none if it cannot be understood, since it can be made again."""
    try:
        value: Any = json.loads(path.read_text("utf-8"))
        if value["version"] != _VERSION:
            return {}
        return {
            str(name): Entry(int(row["size"]), int(row["changed"]), tuple(row["contents"]))
            for name, row in value["files"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}

"""Media as files named by their SHA-256: each stored once, however often it is attached."""

import contextlib
import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from vlmchat.chat.messages import Media
from vlmchat.store.database import StoreError
from vlmchat.text import visible_line

_ABANDONED_SECONDS = 600.0


class MediaFiles:
    """A folder of media.

    Args:
        folder: made on first use.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, sha256: str) -> Path:
        """Return where the medium lies or would lie."""
        return self._folder / sha256[:2] / sha256

    def keep(self, media: Media) -> None:
        """Store a medium, unless it is there already.

        The file gets its name only when it is whole on the disk: a crash leaves no half medium.

        Raises:
            StoreError: the disk is full, the folder not writable, or the medium has changed since
                it was attached.
            VlmchatError: the medium cannot be read.
        """
        if media.file is None:
            data = media.data if not self.path(media.sha256).exists() else b""
            self._put(media.sha256, lambda file: file.write(data))
        else:
            self._put(media.sha256, lambda file: _copy(media, file))

    def put(self, sha256: str, data: bytes) -> None:
        """Store `data`, whose digest is `sha256`; see `keep`."""
        self._put(sha256, lambda file: file.write(data))

    def _put(self, sha256: str, write: Callable[[BinaryIO], object]) -> None:
        target = self.path(sha256)
        if target.exists():
            return
        try:
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=".new-")
            try:
                with os.fdopen(descriptor, "wb") as file:
                    write(file)
                    file.flush()
                    os.fsync(file.fileno())
                Path(name).replace(target)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise StoreError(
                f"A medium could not be saved in {self._folder} ({error.strerror or error})."
            ) from error

    def get(self, sha256: str) -> bytes:
        """Return the medium's bytes.

        Raises:
            StoreError: it is gone, or is not what it was.
        """
        path = self.path(sha256)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise StoreError(
                f"The medium {path} cannot be read ({error.strerror or error})."
            ) from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise StoreError(f"The medium {path} is damaged: its contents have changed.")
        return data

    def remove_all_but(self, kept: frozenset[str]) -> int:
        """Remove every medium whose digest is not in `kept`; return how many went.

        What a crash left half written goes, too.
        """
        removed = 0
        for path in self._folder.glob("??/*"):
            if path.name.startswith("."):
                _remove_abandoned(path)
            elif path.name not in kept:
                path.unlink(missing_ok=True)
                removed += 1
        return removed


def _remove_abandoned(path: Path) -> None:
    """Remove a file that no process has written to for a while: none writes it any more."""
    with contextlib.suppress(OSError):  # it was renamed or removed meanwhile
        if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
            path.unlink()


def _copy(media: Media, target: BinaryIO) -> None:
    """Copy a file that may be larger than the memory, and see that it is what it was."""
    assert media.file is not None
    digest = hashlib.sha256()
    try:
        source = media.file.open("rb")
    except OSError as error:
        why = error.strerror or error
        raise StoreError(f"“{visible_line(media.name)}” is not there any more ({why}).") from error
    with source:
        while piece := source.read(1 << 20):
            digest.update(piece)
            target.write(piece)
    if digest.hexdigest() != media.sha256:
        raise StoreError(f"“{visible_line(media.name)}” has changed since it was attached.")

"""Media as files named by their SHA-256: each stored once, however often it is attached."""

import hashlib
import os
import tempfile
from pathlib import Path

from vlmchat.store.database import StoreError


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

    def put(self, sha256: str, data: bytes) -> None:
        """Store `data`, whose digest is `sha256`, unless it is there already.

        The file gets its name only when it is whole on the disk: a crash leaves no half medium.

        Raises:
            StoreError: the disk is full or the folder not writable.
        """
        target = self.path(sha256)
        if target.exists():
            return
        try:
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=".new-")
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                Path(name).replace(target)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise StoreError(
                f"A picture could not be saved in {self._folder} ({error.strerror or error})."
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
                f"The picture {path} cannot be read ({error.strerror or error})."
            ) from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise StoreError(f"The picture {path} is damaged: its contents have changed.")
        return data

    def remove_all_but(self, kept: frozenset[str]) -> int:
        """Remove every medium whose digest is not in `kept`; return how many went."""
        removed = 0
        for path in self._folder.glob("??/*"):
            if path.name not in kept and not path.name.startswith("."):
                path.unlink(missing_ok=True)
                removed += 1
        return removed

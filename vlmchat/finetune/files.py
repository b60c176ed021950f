"""Files and folders that are there whole or not at all."""

import contextlib
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vlmchat.chat.formats.values import short
from vlmchat.errors import UsageError, VlmchatError

_UNSAFE = re.compile(r"[^\w.-]+")
_NAME = 60


class JobError(VlmchatError):
    """A job or an adapter cannot be made, read or changed."""

    code = "job_error"


@contextmanager
def told(what: str) -> Iterator[None]:
    """Turn what the file system refuses into a sentence that begins with `what`."""
    try:
        yield
    except OSError as error:
        raise JobError(f"{what} ({error.strerror or error}).") from error


def write_whole(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Write a file under another name and give it its own when it is on the disk.

    Raises:
        OSError: the disk is full, or the folder not writable.
    """
    temporary = path.with_name(f".{path.name[:80]}.{secrets.token_hex(6)}.part")
    try:
        with temporary.open("xb") as file:
            for piece in (data,) if isinstance(data, bytes) else data:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make durable which files are in a folder, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def safe_name(wanted: str) -> str:
    """Return a name for a folder that says what `wanted` says.

    Raises:
        UsageError: nothing is left of it.
    """
    name = _UNSAFE.sub("-", wanted.strip())[:_NAME].strip(".-")
    if not name:
        raise UsageError(f"“{short(wanted)}” is no name: use letters and digits.")
    return name


def free_name(folder: Path, wanted: str) -> str:
    """Return `wanted`, or with a number where that is taken in `folder`."""
    name, number = wanted, 1
    while (folder / name).exists():
        number += 1
        name = f"{wanted}-{number}"
    return name


def take_name(temporary: Path, folder: Path, wanted: str) -> Path:
    """Move a finished folder into `folder` under a name that nothing has, and return it.

    Raises:
        OSError: it cannot be moved.
    """
    for _ in range(100):
        target = folder / free_name(folder, wanted)
        try:
            # A name for oneself, so that two at once cannot both take it.
            target.mkdir(mode=0o700)
        except FileExistsError:
            continue
        try:
            if os.name != "posix":  # where a folder does not replace an empty one
                target.rmdir()
            temporary.rename(target)
        except OSError:
            with contextlib.suppress(OSError):
                target.rmdir()
            raise
        sync_folder(folder)
        return target
    raise OSError("no free name")

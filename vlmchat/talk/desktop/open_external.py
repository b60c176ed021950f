"""Opens a medium in the desktop's own viewer.

The viewer gets a read-only copy in a private folder: whatever it does, the stored medium stays as
it is. The program is started directly, never through a shell, and never waited for.
"""

import asyncio
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from vlmchat import paths
from vlmchat.chat.messages import Media
from vlmchat.errors import UsageError, VlmchatError

# By the medium's type, not by its name, which nobody vouches for.
_SUFFIXES = {
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/webp": ".webp",
    "image/gif": ".gif",
    "video/mp4": ".mp4",
    "video/webm": ".webm",
    "video/quicktime": ".mov",
    "video/x-matroska": ".mkv",
    "video/x-msvideo": ".avi",
    "video/mp2t": ".ts",
    "image/apng": ".png",
}
_KEPT_SECONDS = 24 * 3600


async def open_external(media: Media) -> None:
    """Open a medium in the desktop's viewer; returns once that has been started.

    Raises:
        UsageError: there is no desktop, or nothing that opens it.
        VlmchatError: the copy cannot be written.
    """
    await asyncio.to_thread(_open, media)


def opener() -> list[str]:
    """Return the command that opens a file on this desktop; empty on Windows, which has a call.

    Raises:
        UsageError: there is no desktop, or no such command.
    """
    if sys.platform == "win32":
        return []
    if sys.platform == "darwin":
        return ["open"]
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise UsageError("There is no desktop here to open the file on: this is a terminal only.")
    found = shutil.which("xdg-open")
    if found is None:
        raise UsageError("The file cannot be opened: install xdg-utils, which has xdg-open.")
    return [found]


def copy_for_viewing(media: Media) -> Path:
    """Write a read-only copy of a medium with the right suffix, and return its path; blocking.

    Copies of earlier days are removed.

    Raises:
        VlmchatError: it cannot be written.
    """
    folder = paths.cache_dir() / "opened"
    suffix = _SUFFIXES.get(media.mime, ".bin")
    path = folder / f"{media.sha256[:32]}{suffix}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        _remove_old(folder)
        if not path.exists():
            new = path.with_suffix(f".{os.getpid()}.new")
            if media.file is None:
                new.write_bytes(media.data)
            else:  # it may be larger than the memory
                shutil.copyfile(media.file, new)
            new.chmod(0o400)
            new.replace(path)
        os.utime(path)
    except OSError as error:
        raise VlmchatError(
            f"The copy for the viewer cannot be written to {folder} ({error.strerror or error})."
        ) from error
    return path


def _remove_old(folder: Path) -> None:
    limit = time.time() - _KEPT_SECONDS
    for path in folder.iterdir():
        try:
            if path.stat().st_mtime < limit:
                path.unlink(missing_ok=True)
        except OSError:
            continue


def _open(media: Media) -> None:
    command = opener()
    if media.mime not in _SUFFIXES:
        raise UsageError(f"A medium of the kind “{media.mime}” is not opened outside.")
    path = copy_for_viewing(media)
    if sys.platform == "win32":
        os.startfile(path)
        return
    try:
        process = subprocess.Popen(
            [*command, str(path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise UsageError(
            f"“{command[0]}” cannot be started ({error.strerror or error}): mend your desktop."
        ) from error
    # Helpers like xdg-open end at once and say by their code whether they found a program.
    try:
        code = process.wait(3)
    except subprocess.TimeoutExpired:
        import threading

        threading.Thread(target=process.wait, daemon=True).start()
        return
    if code:
        raise UsageError(
            f"The desktop could not open the file ({Path(command[0]).name} ended with {code}): "
            f"set a program for {media.mime} files."
        )

"""What is searched: the pictures and videos of a folder, the lines of a file."""

import os
from pathlib import Path

from vlmchat.errors import UsageError
from vlmchat.media.attaching import MEDIA_SUFFIXES
from vlmchat.text import visible_line


def media_in(folder: Path, *, recursive: bool) -> list[Path]:
    """Return the pictures and videos in a folder by their names' endings, in order; blocking.

    What is hidden is left out, and links to folders are not followed.

    Args:
        folder: to be searched.
        recursive: whether the folders in it are searched too.

    Raises:
        UsageError: it is no folder, cannot be read, or holds none.
    """
    shown = visible_line(str(folder))
    if not folder.is_dir():
        raise UsageError(f"“{shown}” is no folder: name the one that holds the pictures.")
    found: list[Path] = []
    deeper = False

    def refuse(error: OSError) -> None:
        if error.filename == str(folder):
            raise UsageError(f"“{shown}” cannot be read ({error.strerror}).") from error

    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            Path(place, name)
            for name in sorted(names)
            if not name.startswith(".") and Path(name).suffix.lower() in MEDIA_SUFFIXES
        ]
        if not recursive:
            deeper = bool(folders)
            break
    if not found:
        more = " itself: --recursive looks into its folders" if deeper else ""
        raise UsageError(f"“{shown}” holds no pictures or videos{more}.")
    return found


def sentences_in(data: bytes, name: str) -> list[str]:
    """Return the lines of a text file, each once, without those that are empty.

    Args:
        data: of the file.
        name: how errors call it.

    Raises:
        UsageError: it is not text, or has no lines.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"“{visible_line(name)}” is not UTF-8 text.") from None
    lines = dict.fromkeys(line.strip() for line in text.splitlines())
    lines.pop("", None)
    if not lines:
        raise UsageError(f"“{visible_line(name)}” has no sentences: write one a line.")
    return list(lines)

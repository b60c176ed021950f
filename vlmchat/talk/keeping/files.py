"""What `/export` and `/import` do, in threads of their own.

An import has a connection of its own to the store: reading a large file may take long, and what is
being said is to be saved meanwhile.
"""

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vlmchat.chat.conversation import Conversation
    from vlmchat.chat.formats.writing import Format
    from vlmchat.store.store import Store

_SHORTEN = 40


def _opened() -> "Store":
    from vlmchat import paths
    from vlmchat.store.store import Store

    return Store(paths.data_dir())


def default_path(conversation: "Conversation", form: "Format", folder: Path) -> Path:
    """Return a file in `folder` named after the conversation that does not exist yet."""
    from vlmchat.chat.formats.writing import SUFFIXES

    words = re.findall(r"[^\W_]+", conversation.title.lower())
    stem = "-".join(words)[:_SHORTEN].strip("-") or "conversation"
    path = folder / f"{stem}{SUFFIXES[form]}"
    number = 1
    while path.exists():
        number += 1
        path = folder / f"{stem}-{number}{SUFFIXES[form]}"
    return path


def format_for(path: Path | None) -> "Format":
    """Return the format that a path's suffix says; Markdown if it says none."""
    from vlmchat.chat.formats.writing import SUFFIXES

    suffix = path.suffix.lower() if path is not None else ""
    return next((form for form, own in SUFFIXES.items() if own == suffix), "markdown")


async def export_conversation(
    conversation: "Conversation", form: "Format | None" = None, path: Path | None = None
) -> str:
    """Write a conversation to a file and return one sentence that says where.

    Args:
        conversation: all of it.
        form: by default what the path's suffix says.
        path: by default a new file in the current folder, named after the conversation.

    Raises:
        VlmchatError: there is nothing to write, the file exists, or it cannot be written.
    """

    def write() -> str:
        from vlmchat.chat.formats.writing import export_to
        from vlmchat.media.for_formats import views

        kind = form or format_for(path)
        target = path or default_path(conversation, kind, Path.cwd())
        shown = views() if kind == "html" else None
        return str(export_to(target, kind, [conversation], views=shown))

    return await asyncio.to_thread(write)


async def import_file(path: Path, skip_bad: bool) -> list[str]:
    """Import every conversation of a file; return what to say about it, one sentence each.

    Raises:
        VlmchatError: the file has problems and `skip_bad` is not asked for, or the store fails.
    """

    def bring_in() -> list[str]:
        from vlmchat.store.imports import import_from

        with _opened() as store:
            done = import_from([path], store, skip_bad=skip_bad)
        return [*map(str, done.problems[:5]), *done.notes[:5], str(done)]

    return await asyncio.to_thread(bring_in)

"""What a command line can go on with: commands, and the usual kinds of arguments.

Commands call `words`, `paths` and the rest from their `completions`. What only filters returns at
once; what looks at the disk is an awaitable that does so in a thread.
"""

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vlmchat.talk.commands.base import Command, Completion, Completions, Found
from vlmchat.talk.desktop.pasted import escape, expand, is_url, last_word
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from vlmchat.store.records import Thread
    from vlmchat.talk.front import Front

# A folder with more fitting names than this is narrowed by typing, not by reading a list.
_MOST_PATHS = 300
_MOST_LISTED = 8
_LISTED: dict[Path, tuple[int, list[tuple[str, bool]]]] = {}
_COMMAND_LINE = re.compile(r"/([A-Za-z?][\w-]*)\s(.*)\Z", re.DOTALL)
_NAME = re.compile(r"/[\w?-]*\Z")


def offers(chat: "Front", line: str) -> tuple[str, Found]:
    """Return what `line` can go on with.

    Args:
        chat: the screen.
        line: what is written, from the start up to the cursor.

    Returns:
        The part of the line that stays, and the items whose texts follow it.
    """
    from vlmchat.talk.commands import registry

    if _NAME.match(line):
        return "/", commands(chat, line[1:])
    match = _COMMAND_LINE.match(line)
    command = registry.names().get(match.group(1).lower()) if match else None
    if match is None or command is None:
        return line, ()
    return line[: match.start(2)], command.completions(chat, match.group(2))


def commands(chat: "Front", typed: str) -> Completions:
    """Return the commands whose name or alias fits `typed`, else those whose help does."""
    from vlmchat.talk.commands.registry import COMMANDS

    typed = typed.lower()
    scores = [max(fuzzy(typed, name) for name in (it.name, *it.aliases)) for it in COMMANDS]
    if not any(scores) and len(typed) >= 3:
        scores = [float(typed in it.help.lower()) for it in COMMANDS]
    ranked = sorted((-score, place) for place, score in enumerate(scores) if score)
    return [_offered(chat, COMMANDS[place]) for _, place in ranked]


def _offered(chat: "Front", command: Command) -> Completion:
    text = command.name + (" " if command.arguments else "")
    return Completion(text, command.usage, command.help, command.available(chat) or "")


def fuzzy(typed: str, candidate: str) -> float:
    """Return how well `typed` abbreviates `candidate`; 0 when its letters are not there in order.

    A beginning beats the beginning of a later word, that beats a part, that beats scattered
    letters; linear in the candidate's length, as it runs at every key.
    """
    typed, candidate = typed.lower(), candidate.lower()
    if candidate.startswith(typed):
        return 4 + (typed == candidate)
    at = candidate.find(typed)
    if at > 0:
        return 3 if not candidate[at - 1].isalnum() else 2
    position = -1
    for char in typed:
        position = candidate.find(char, position + 1)
        if position < 0:
            return 0
    # Scattered letters that do not share the first one are hardly ever what is meant.
    return 1 if candidate[:1] == typed[:1] else 0


def words(
    argument: str, choices: Mapping[str, str] | Iterable[str], last: bool = True
) -> Completions:
    """Return those of `choices` that `argument` may become.

    Args:
        argument: what is written.
        choices: the words, with their help if it is a mapping.
        last: whether nothing follows; otherwise a space is put behind the word.
    """
    table = choices if isinstance(choices, Mapping) else dict.fromkeys(choices, "")
    ranked = sorted(
        (-score, place, name)
        for place, name in enumerate(table)
        if (score := fuzzy(argument, name)) > 0
    )
    return [Completion(name + ("" if last else " "), name, table[name]) for _, _, name in ranked]


def paths(
    argument: str, wanted: Callable[[Path], bool], folders_only: bool = False
) -> Awaitable[Completions]:
    """Return the folders and files that the last path in `argument` may become.

    Args:
        argument: paths as `vlmchat.talk.desktop.pasted.parse_paths` reads them.
        wanted: whether a file of this name is suitable.
        folders_only: whether no file is.
    """
    keep = (lambda _: False) if folders_only else wanted
    return asyncio.to_thread(find_paths, argument, keep)


def find_paths(argument: str, wanted: Callable[[Path], bool]) -> Completions:
    """Do the work of `paths`; blocking."""
    begin, word = last_word(argument)
    if is_url(word) or word.lower().startswith("file:"):
        return ()
    found = _entries(word, wanted)
    if not found and begin:
        # A path with spaces that nobody quoted: parse_paths would take it as a whole, too.
        begin, found = 0, _entries(argument, wanted)
    items = [Completion(argument[:begin] + escape(path), label) for path, label in found]
    return [item for item in items if item.text != argument]


def _entries(word: str, wanted: Callable[[Path], bool]) -> list[tuple[str, str]]:
    """Return path and name of what is in the word's folder and begins like its last part."""
    if os.name == "nt":
        word = word.replace("\\", "/")
    if word in ("~", ".", ".."):
        return [(f"{word}/", f"{word}/")]
    above, slash, start = word.rpartition("/")
    folder = above + slash
    try:
        listing = _listing(Path.cwd() / expand(folder))
    except (OSError, ValueError):
        return []
    entries = [
        (name, is_folder)
        for name, is_folder in listing
        if _fits(name, start) and (is_folder or wanted(Path(name)))
    ]
    # What begins exactly so comes before what differs in case; folders before files.
    entries.sort(key=lambda item: (not item[0].startswith(start), not item[1]))
    names = [name + ("/" if is_folder else "") for name, is_folder in entries[:_MOST_PATHS]]
    # A bare name that expand() would read as something else is written with its folder.
    plain = [
        folder or ("./" if name.startswith("~") or name[:5] == "file:" else "") for name in names
    ]
    return [(where + name, name) for where, name in zip(plain, names, strict=True)]


def _listing(folder: Path) -> list[tuple[str, bool]]:
    """Return the names in `folder` in natural order, and whether each is a folder's.

    The same folder is asked for at every key; it is read again when it has changed.
    """
    changed = folder.stat().st_mtime_ns
    held = _LISTED.get(folder)
    if held is None or held[0] != changed:
        with os.scandir(folder) as entries:
            listing = [(entry.name, _is_folder(entry)) for entry in entries]
        listing.sort(key=lambda item: _natural(item[0]))
        while len(_LISTED) >= _MOST_LISTED:
            _LISTED.pop(next(iter(_LISTED)), None)
        held = _LISTED[folder] = changed, listing
    return held[1]


def _fits(name: str, start: str) -> bool:
    if name.startswith(".") and not start.startswith("."):
        return False
    # A line break or an escape sequence cannot be written into a command line.
    return name.lower().startswith(start.lower()) and (
        (name.isascii() and name.isprintable()) or visible_line(name) == name
    )


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _natural(name: str) -> tuple[tuple[int, str], ...]:
    return tuple(
        (int(part), "") if part.isdecimal() else (-1, part)
        for part in re.split(r"(\d+)", name.lower())
        if part
    )


def parameters(argument: str, current: object) -> Found:
    """Return the sampling parameters, and behind a parameter the hint of its range.

    Args:
        argument: of ``/set``.
        current: the `Sampling` in force, for the values shown.
    """
    from vlmchat.settings import SamplingSettings

    name, space, value = argument.partition(" ")
    fields = SamplingSettings.model_fields
    if not space:
        helps = {key: field.description or "" for key, field in fields.items()}
        return words(argument.replace("-", "_"), helps, last=False)
    field = fields.get(name.replace("-", "_").lower())
    if field is None:
        return ()
    now = getattr(current, name.replace("-", "_").lower(), None)
    hint = f"{_range(field.metadata)}; now {'the default' if now in (None, ()) else now}"
    items = [Completion(argument, hint, field.description or "")]
    if value != "default" and "default".startswith(value):
        items.append(Completion(f"{name} default", "default", "Go back to the default"))
    return items


def _range(metadata: Iterable[object]) -> str:
    bounds: dict[str, float] = {}
    for rule in metadata:
        for name in ("ge", "gt", "le", "lt"):
            if (bound := getattr(rule, name, None)) is not None:
                bounds[name] = bound
    low, high = bounds.get("ge", bounds.get("gt")), bounds.get("le", bounds.get("lt"))
    above = "above " if "gt" in bounds else ""
    if low is None:
        return "any text" if high is None else f"up to {high:g}"
    if high is None:
        return f"above {low:g}" if above else f"{low:g} or more"
    return f"{above}{low:g} to {high:g}"


def settings(argument: str) -> Found:
    """Return the settings, and behind one of them its choices.

    Args:
        argument: of ``/settings``.
    """
    from vlmchat.settings_fields import setting_fields

    name, space, value = argument.partition(" ")
    fields = {field.key: field for field in setting_fields()}
    if not space:
        return words(name, {key: field.title for key, field in fields.items()}, last=False)
    field = fields.get(name)
    choices = dict.fromkeys(field.choices, "") | {"default": ""} if field else {}
    return [Completion(f"{name} {item.text}", item.text) for item in words(value.strip(), choices)]


def models(
    argument: str, wanted: Callable[[Path], bool] = lambda _: False
) -> Awaitable[Completions]:
    """Return catalogue names and, once a path is begun, the folders it may become."""
    from vlmchat.models.catalogue import CATALOGUE

    async def find() -> Completions:
        if argument.startswith(("/", "~", ".", "'", '"')):
            return await paths(argument, wanted)
        return words(argument, {entry.id: entry.title for entry in CATALOGUE})

    return find()


def adapters(argument: str, shelf: Callable[[], Mapping[str, str]]) -> Awaitable[Completions]:
    """Return the adapters on the shelf, “off”, and folders once a path is begun.

    Args:
        argument: what is written.
        shelf: the adapters' names with their help; called in a thread.
    """

    async def find() -> Completions:
        if argument.startswith(("/", "~", ".", "'", '"')):
            return await paths(argument, lambda _: False)
        known = await asyncio.to_thread(shelf)
        return words(argument, {**known, "off": "Answer without an adapter"})

    return find()


async def conversations(
    argument: str, threads: Callable[[], Awaitable[Sequence["Thread"]]]
) -> Completions:
    """Return the conversations whose number or title fits, as their numbers.

    Args:
        argument: what is written.
        threads: gives the conversations, newest first.
    """
    typed = argument.strip().lower()
    return [
        Completion(str(thread.id), thread.title or "untitled", str(thread.id))
        for thread in await threads()
        if typed in thread.title.lower() or str(thread.id).startswith(typed)
    ]

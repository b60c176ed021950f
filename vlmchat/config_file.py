"""Changes single settings in ``config.toml`` and leaves the rest of the file as it is.

Comments, order and formatting stay; nothing that `vlmchat.settings` would refuse is ever written;
and the file is replaced whole or not at all.
"""

import contextlib
import os
import tempfile
import tomllib
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from vlmchat import paths
from vlmchat.errors import UsageError, VlmchatError
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

Value: TypeAlias = str | int | float | bool | tuple[str, ...]

_HEADER = """\
# The settings of vlmchat. What is not set here has its default; /settings lists and explains
# everything, and keeps these comments when it writes.
"""
_LOCK_SECONDS = 10.0


def set_value(key: str, value: Value | None, path: Path | None = None) -> None:
    """Set one setting in the configuration file; blocking.

    Args:
        key: group and name, as ``ui.theme`` or ``keys.attach``.
        value: what it shall be; ``None`` removes it from the file, as `unset` does.
        path: the file; the person's own by default.

    Raises:
        UsageError: there is no such setting, it cannot have this value, or the file is not valid
            as it stands.
        VlmchatError: the file cannot be read or written.
    """
    _change(key, value, path or paths.config_file())


def unset(key: str, path: Path | None = None) -> None:
    """Remove one setting from the configuration file, so that its default holds; blocking.

    Raises:
        UsageError: the file is not valid as it stands.
        VlmchatError: the file cannot be read or written.
    """
    _change(key, None, path or paths.config_file())


def _change(key: str, value: Value | None, path: Path) -> None:
    # A link is followed: people keep their configuration in a folder of dotfiles.
    target = Path(os.path.realpath(path))
    with _locked():
        before = _read(target)
        text = _changed(before, key, value, path)
        if text != before:
            _replace(target, text)


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    from filelock import FileLock, Timeout

    try:
        with FileLock(paths.cache_dir() / "config.lock", timeout=_LOCK_SECONDS):
            yield
    except Timeout:
        raise VlmchatError(
            "The configuration is being written by another vlmchat: try again in a moment."
        ) from None


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        raise UsageError(f"{visible_line(str(path))} is not valid TOML: {error}.") from None
    except OSError as error:
        raise VlmchatError(
            f"{visible_line(str(path))} cannot be read ({error.strerror}): check its permissions."
        ) from None


def _changed(before: str, key: str, value: Value | None, path: Path) -> str:
    """Return the file's text with `key` set to `value`, or without it when that is none."""
    from vlmchat.settings import check_config

    where = visible_line(str(path))
    # The library that keeps comments writes plain line feeds only.
    returns = "\r\n" in before and before.count("\r\n") == before.count("\n")
    text = before.replace("\r\n", "\n") if returns else before
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where} is not valid TOML: {error}.") from None
    group, _, name = key.partition(".")
    if not isinstance(table.get(group, {}), dict):
        raise UsageError(f"{where}: “{visible_line(group)}” must be a table: mend it by hand.")
    wanted = _plainly(table, group, name, value)
    if wanted == table:
        return before
    check_config(wanted, key)
    text = _edited(text, group, name, value)
    if _loads(text) != wanted:
        raise UsageError(
            f"{where} is written in a way that cannot be changed safely: set “{key}” by hand."
        )
    return text.replace("\n", "\r\n") if returns else text


def _loads(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _plainly(table: dict[str, Any], group: str, name: str, value: Value | None) -> dict[str, Any]:
    """Return a copy of `table` with the change: what the edited text must mean."""
    from copy import deepcopy

    copy = deepcopy(table)
    if value is None and group not in copy:
        return copy
    holder, last = _holder(copy.setdefault(group, {}), name)
    if value is not None:
        holder[last] = list(value) if isinstance(value, tuple) else value
    else:
        holder.pop(last, None)
    return copy


def _holder(table: MutableMapping[str, Any], name: str) -> tuple[MutableMapping[str, Any], str]:
    """Return the innermost table that has `name`, and what it is called in there.

    ``composer.history`` may stand as a key of that name or in a table ``composer``.
    """
    first, dot, rest = name.partition(".")
    if name not in table and dot and isinstance(table.get(first), MutableMapping):
        return _holder(table[first], rest)
    return table, name


def _edited(text: str, group: str, name: str, value: Value | None) -> str:
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    plain: Any = list(value) if isinstance(value, tuple) else value
    try:
        document = tomlkit.parse(text)
        if group not in document:
            return _with_group(text, group, name, plain)
        holder, last = _holder(document[group], name)
        if plain is None:
            del holder[last]
        elif last in holder:
            holder[last] = plain
        else:
            _add(document, holder, last, plain)
        return tomlkit.dumps(document)
    except (TOMLKitError, KeyError):
        return ""  # which is not what is wanted, and told as such


def _with_group(text: str, group: str, name: str, plain: object) -> str:
    import tomlkit

    table = tomlkit.table()
    table.add(name, plain)
    document = tomlkit.document()
    document.add(group, table)
    if text and not text.endswith("\n"):
        text += "\n"
    return f"{text or _HEADER}\n{tomlkit.dumps(document)}"


def _add(
    document: "TOMLDocument", holder: MutableMapping[str, Any], name: str, plain: object
) -> None:
    """Add a key at the end of a table, but before a comment that belongs to what follows it."""
    from tomlkit.items import Table, Whitespace

    if not isinstance(holder, Table) or holder.is_super_table():
        holder[name] = plain
        return
    body = holder.value.body
    end = len(body)
    while end and body[end - 1][0] is None:
        end -= 1
    blank = next((i for i in range(end, len(body)) if isinstance(body[i][1], Whitespace)), None)
    if blank is None:
        if not document.as_string().endswith("\n") and body:
            body[-1][1].trivia.trail = "\n"
        holder[name] = plain
        return
    held = body[blank:]
    del body[blank:]
    holder[name] = plain
    body.extend(held)


def _replace(path: Path, text: str) -> None:
    """Write `text` beside the file and put it in its place, durably."""
    where = visible_line(str(path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # The key of a server may stand in it: a new one is nobody else's to read.
        mode = path.stat().st_mode & 0o7777 if path.exists() else 0o600
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".config-", suffix=".toml")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(text.encode("utf-8"))
                file.flush()
                Path(name).chmod(mode)
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise VlmchatError(
            f"{where} cannot be written ({error.strerror}): it is as it was."
        ) from None


def _sync_folder(folder: Path) -> None:
    # Not every system lets a folder be synced; the file itself is on the disk already.
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

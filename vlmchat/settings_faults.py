"""What is wrong with a setting, and where it was set."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from vlmchat import paths
from vlmchat.text import visible_line

ENV_PREFIX = "VLMCHAT_"
NESTED = "__"


def refusal_of(kind: str, keys: tuple[str, ...], fault: Mapping[str, Any]) -> str:
    """Return the sentence for a value that `keys` cannot have."""
    key = visible_line(".".join(keys[:2]))
    if kind == "extra_forbidden":
        return f"There is no setting “{key}”."
    shown = "that" if keys[-1] == "api_key" else visible_line(repr(fault["input"]))
    return f"“{key}” cannot be {shown}: {reason_of(str(fault['msg']))}."


def sentence_of(error: ValidationError, given: Mapping[str, Any]) -> str:
    """Return the sentence for the first thing that is wrong, with where it stands."""
    first = error.errors(include_url=False, include_context=False)[0]
    keys = tuple(str(key) for key in first["loc"])
    where = origin(keys, given)
    key = visible_line(".".join(keys))
    if first["type"] == "extra_forbidden":
        return f"{where}: there is no setting “{key}”: remove it or mend its name."
    value = visible_line(repr(first["input"]))
    shown = "" if keys[-1] == "api_key" else f" (it is {value})"
    return f"{where}: “{key}” is wrong{shown}: {reason_of(first['msg'])}."


def reason_of(message: str) -> str:
    """Return what pydantic says, to follow a colon within a sentence."""
    text = message.removeprefix("Value error, ").rstrip(".")
    return text[:1].lower() + text[1:]


def origin(keys: tuple[str, ...], given: Mapping[str, Any]) -> str:
    """Return which source the value at `keys` came from, strongest first.

    Args:
        keys: as ``("ui", "theme")``.
        given: what the command line gave.
    """
    if _holds(given, keys):
        return "Command line"
    if variable := variable_of(keys):
        return f"Environment variable {variable}"
    path = paths.config_file()
    line = line_of(path, keys)
    return visible_line(str(path)) + (f", line {line}" if line else "")


def variable_of(keys: tuple[str, ...]) -> str:
    """Return the environment variable that sets `keys`, empty when there is none."""
    wanted = ENV_PREFIX + NESTED.join(keys[:2]).upper()
    return next((name for name in os.environ if name.upper() == wanted and os.environ[name]), "")


def _holds(table: Mapping[str, Any], keys: tuple[str, ...]) -> bool:
    value: Any = table
    for key in keys[:2]:
        if not isinstance(value, Mapping) or key not in value:
            return False
        value = value[key]
    return True


def line_of(path: Path, keys: tuple[str, ...]) -> int:
    """Return the line that sets `keys` in plainly written TOML, else 0."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return 0
    table = ""
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if text.startswith("["):
            table = text.strip("[] ")
            if (table,) == keys:
                return number
            continue
        name = text.partition("=")[0].strip().strip("\"'")
        full = f"{table}.{name}" if table else name
        if full and full in (".".join(keys), ".".join(keys[:2]), keys[0]):
            return number
    return 0

"""Themes: one TOML file each.

A file has the fields of Textual's `Theme` except its name, which is the file's:
``dark``, ``primary``, ``secondary``, ``accent``, ``warning``, ``error``, ``success``,
``foreground``, ``background``, ``surface``, ``panel``, and a ``[variables]`` table.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from textual.color import Color, ColorParseError
from textual.theme import Theme

from vlmchat import paths
from vlmchat.errors import UsageError
from vlmchat.text import visible_line

_COLORS = frozenset(
    {"primary", "secondary", "accent", "warning", "error", "success"}
    | {"foreground", "background", "surface", "panel", "boost"}
)
_KNOWN = _COLORS | {"dark", "variables"}


def theme_dirs() -> tuple[Path, ...]:
    """Return the folders of theme files; the person's own come last and win."""
    return paths.shipped_themes_dir(), paths.config_dir() / "themes"


def theme_files() -> dict[str, Path]:
    """Return every theme file by its theme's name."""
    found: dict[str, Path] = {}
    for folder in theme_dirs():
        try:
            found |= {path.stem: path for path in sorted(folder.glob("*.toml"))}
        except OSError:
            # A folder that may not be listed has no themes to offer.
            continue
    return found


def load_theme(path: Path) -> Theme:
    """Read a theme file.

    Raises:
        UsageError: unreadable, not TOML, an unknown key, a missing or bad colour.
    """
    where = visible_line(str(path))
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"The theme {where} is not valid TOML: {error}.") from None
    except OSError as error:
        raise UsageError(f"The theme {where} cannot be read: {error.strerror}.") from None
    for key, value in table.items():
        if key not in _KNOWN:
            raise UsageError(f"The theme {where} has an unknown key “{visible_line(key)}”.")
        if key in _COLORS:
            _check_color(where, key, value)
    if "primary" not in table:
        raise UsageError(f"The theme {where} lacks the colour “primary”.")
    if not isinstance(table.get("dark", True), bool):
        raise UsageError(f"The theme {where}: “dark” must be true or false.")
    return Theme(name=path.stem, **{**table, "variables": _variables(where, table)})


def _variables(where: str, table: dict[str, Any]) -> dict[str, str]:
    variables = table.get("variables", {})
    if not isinstance(variables, dict) or not all(isinstance(v, str) for v in variables.values()):
        raise UsageError(f"The theme {where}: “variables” must be a table of strings.")
    return variables


def _check_color(where: str, key: str, value: object) -> None:
    try:
        Color.parse(value if isinstance(value, str) else repr(value))
    except ColorParseError:
        raise UsageError(
            f'The theme {where}: “{key}” is no colour: write it like "#1f6f78".'
        ) from None


DEFAULT_THEME = "harbour"


def first_theme(overrides: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the theme to paint with before the settings are read whole.

    The same order as in `vlmchat.settings`, which is too slow to import before the first paint.

    Raises:
        UsageError: the configuration file is not TOML.
    """
    for source in (overrides.get("ui", {}).get("theme"), os.environ.get("VLMCHAT_UI__THEME")):
        if source:
            return str(source)
    path = paths.config_file()
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{visible_line(str(path))} is not valid TOML: {error}.") from None
    except OSError:
        # Missing is normal; unreadable is told when the settings are read.
        return DEFAULT_THEME
    group = table.get("ui")
    name = group.get("theme") if isinstance(group, dict) else None
    return name if isinstance(name, str) and name else DEFAULT_THEME

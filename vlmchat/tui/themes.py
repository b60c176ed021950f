"""Themes: one TOML file each.

A file has ``primary`` and, as far as it cares, ``secondary``, ``accent``, ``warning``,
``error``, ``success``, ``foreground``, ``background``, ``surface``, ``panel``, ``boost``; ``dark``
(true unless said otherwise), ``ansi`` (the terminal's own colours, ``ansi_red`` and the like), a
``description`` for the list, and a ``[variables]`` table for single places, as
``block-cursor-background``. What it leaves out is derived (see `vlmchat.tui.colours`). The
theme's name is the file's.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from textual.color import Color, ColorParseError
from textual.theme import Theme

from vlmchat import paths
from vlmchat.errors import UsageError
from vlmchat.talk.theme_files import own_themes_dir
from vlmchat.text import visible_line
from vlmchat.tui.colours import OPACITY, derived, derived_ansi

_COLORS = frozenset(
    {"primary", "secondary", "accent", "warning", "error", "success"}
    | {"foreground", "background", "surface", "panel", "boost"}
)
_FLAGS = frozenset({"dark", "ansi"})
_KNOWN = _COLORS | _FLAGS | {"description", "variables"}
_SYNTAX_PLACE = re.compile(r"\s*\(at (?:line (\d+), column \d+|end of document)\)$")
_TEXT_STYLE = "(?:not )?(?:bold|b|dim|italic|i|underline|u|uu|overline|o|reverse|strike|blink)"
_TEXT_STYLES = re.compile(f"none|{_TEXT_STYLE}(?: {_TEXT_STYLE})*")


@dataclass
class FileTheme(Theme):
    """A theme that was read from a file.

    Attributes:
        description: one line about it; may be empty.
        path: its file.
    """

    description: str = ""
    path: Path = Path()

    @property
    def own(self) -> bool:
        """Whether it is the person's and not the program's."""
        return self.path.parent == own_themes_dir()


def load_theme(path: Path) -> FileTheme:
    """Read a theme file.

    Raises:
        UsageError: unreadable, not TOML, an unknown key, a missing or bad colour; the sentence
            names file and line.
    """
    where = visible_line(str(path))
    try:
        text = path.read_text("utf-8")
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(_syntax_sentence(where, str(error), text)) from None
    except UnicodeDecodeError:
        raise UsageError(f"The theme {where} is not valid TOML: it is not in UTF-8.") from None
    except OSError as error:
        raise UsageError(f"The theme {where} cannot be read: {error.strerror}.") from None
    return _Reader(where, text.splitlines(), table).theme(path)


def _syntax_sentence(where: str, message: str, text: str) -> str:
    match = _SYNTAX_PLACE.search(message)
    line = (match and match.group(1)) or len(text.splitlines())
    said = visible_line(_SYNTAX_PLACE.sub("", message))
    return f"The theme {where}, line {line}, is not valid TOML: {said[:1].lower()}{said[1:]}."


@cache
def _variable_names() -> frozenset[str]:
    """Return every variable a stylesheet can ask a theme for."""
    colors = dict.fromkeys(_COLORS, Color(0, 0, 0))
    known = {*Theme("", "#000000").to_color_system().generate(), *derived(colors, {})}
    return frozenset(known | derived_ansi({}).keys())


class _Reader:
    """Checks what stands in a theme file, and finds the line to blame."""

    def __init__(self, where: str, lines: list[str], table: dict[str, Any]) -> None:
        self._where = where
        self._lines = lines
        self._table = table
        self._ansi = table.get("ansi") is True

    def theme(self, path: Path) -> FileTheme:
        """Return the theme, or raise the `UsageError` about its first mistake."""
        table = self._table
        for key, value in table.items():
            if key not in _KNOWN:
                raise self._unknown("key", key, _KNOWN)
            if key in _COLORS:
                self._check_color(key, value)
        if "primary" not in table:
            raise UsageError(f"The theme {self._where} lacks the colour “primary”.")
        for key in _FLAGS & table.keys():
            if not isinstance(table[key], bool):
                raise self._wrong(key, f"“{key}” must be true or false")
        description = table.get("description", "")
        if not isinstance(description, str):
            raise self._wrong("description", "“description” must be a text in quotes")
        given = self._variables()
        fields = {key: table[key] for key in (_COLORS | _FLAGS) & table.keys()}
        theme = FileTheme(name=path.stem, description=description, path=path, **fields)
        if theme.ansi:
            theme.variables = derived_ansi(given)
        else:
            complete = theme.to_color_system().generate()
            theme.variables = derived({k: Color.parse(complete[k]) for k in _COLORS}, given)
        return theme

    def _variables(self) -> dict[str, str]:
        variables = self._table.get("variables", {})
        if not isinstance(variables, dict):
            raise self._wrong("variables", "“variables” must be a table: write [variables]")
        for key, value in variables.items():
            if key not in _variable_names():
                raise self._unknown("variable", key, _variable_names(), "variables")
            if "-style" not in key:
                self._check_color(key, value, "variables")
            elif not isinstance(value, str) or not _TEXT_STYLES.fullmatch(value):
                said = f"“{key}” is no text style: write it like “bold underline”"
                raise self._wrong(key, said, "variables")
        return {str(key): value for key, value in variables.items()}

    def _check_color(self, key: str, value: object, table: str = "") -> None:
        text = value if isinstance(value, str) else repr(value)
        # Variables may be translucent; what others are derived from has to be opaque.
        color_text = OPACITY.sub("", text) if table else text
        try:
            color = Color.parse(color_text)
        except ColorParseError:
            said = f'“{key}” is no colour: write it like "#1f6f78"'
            raise self._wrong(key, said, table) from None
        if color.ansi is not None and not self._ansi:
            said = f"“{key}” is a colour of the terminal's: that needs “ansi = true” above it"
            raise self._wrong(key, said, table)
        if not table and color.a < 1 and color.ansi is None and key != "boost":
            raise self._wrong(key, f"“{key}” must not be translucent")

    def _unknown(self, kind: str, key: str, known: frozenset[str], table: str = "") -> UsageError:
        near = get_close_matches(key, known, n=1)
        hint = f": did you mean “{near[0]}”?" if near else ": remove it"
        return self._wrong(key, f"there is no {kind} “{visible_line(key)}”{hint}", table)

    def _wrong(self, key: str, what: str, table: str = "") -> UsageError:
        line = _line_of(self._lines, key, table)
        place = f", line {line}" if line else ""
        end = "" if what.endswith("?") else "."
        return UsageError(f"The theme {self._where}{place}: {what}{end}")


def _line_of(lines: list[str], key: str, table: str) -> int:
    """Return the number of the line that sets `key` in plainly written TOML, else 0."""
    current = ""
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if text.startswith("["):
            current = text.partition("#")[0].strip("[] \t\"'")
            if (current, "") == (key, table):
                return number
            continue
        name = text.partition("=")[0].strip().replace('"', "").replace("'", "")
        if (f"{current}.{name}" if current else name) == (f"{table}.{key}" if table else key):
            return number
    return 0


DEFAULT_THEME = "harbour"
# Without colours, the terminal's own foreground and background are what a person wants to see.
COLOURLESS_THEME = "ansi"


def default_theme() -> str:
    """Return the name of the theme for who chose none."""
    return COLOURLESS_THEME if no_color() else DEFAULT_THEME


def no_color() -> bool:
    """Say whether ``NO_COLOR`` is set and not empty (https://no-color.org)."""
    return bool(os.environ.get("NO_COLOR"))


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
        return default_theme()
    group = table.get("ui")
    name = group.get("theme") if isinstance(group, dict) else None
    return name if isinstance(name, str) and name else default_theme()

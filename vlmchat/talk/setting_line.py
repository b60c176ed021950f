"""One setting told or changed by a line: what follows ``/settings``."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vlmchat.errors import UsageError
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from vlmchat.settings import Settings
    from vlmchat.settings_fields import SettingField


def tell_or_change(
    argument: str, overrides: Mapping[str, Mapping[str, Any]]
) -> "tuple[str, Settings | None]":
    """Do what ``/settings`` is told to with one setting; blocking.

    Args:
        argument: a name, and behind it the value or ``default``.
        overrides: what the command line gave.

    Returns:
        What to say, and the settings as they are now if one was changed.

    Raises:
        UsageError: there is no such setting, or it cannot have this value.
        VlmchatError: the configuration cannot be read or written.
    """
    from vlmchat import config_file
    from vlmchat.settings_fields import read_states

    name, _, value = argument.partition(" ")
    name, value = name.rstrip("="), value.strip().removeprefix("=").strip()
    field = _named(name)
    if not value:
        state = read_states(overrides)[1][field.key]
        choices = f" It is one of {', '.join(field.choices)}." if field.choices else ""
        return (
            f"{field.key}: {field.shown(state.value)} ({visible_line(state.source)}). "
            f"{field.description}{choices}",
            None,
        )
    if value == "default":
        config_file.unset(field.key)
    else:
        config_file.set_value(field.key, field.parse(value))
    settings, states = read_states(overrides)
    state = states[field.key]
    said = f"{field.key}: {field.shown(state.value)}. {field.when}"
    if state.overridden and state.value != state.own:
        said = (
            f"{field.key} is {field.shown(state.own)} in config.toml, but "
            f"{visible_line(state.source)} says {field.shown(state.value)}."
        )
    return said, settings


def _named(name: str) -> "SettingField":
    from difflib import get_close_matches

    from vlmchat.settings_fields import setting_fields

    wanted = name.lower().replace("-", "_")
    fields = {field.key: field for field in setting_fields()}
    found = [field for field in fields.values() if wanted in (field.key, field.name)]
    if len(found) == 1:
        return found[0]
    near = get_close_matches(wanted, fields, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}?" if near else "/settings lists those there are."
    raise UsageError(f"There is no setting “{visible_line(name)}”: {hint}")

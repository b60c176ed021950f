"""The schema of the settings, as a screen needs it: what each field is, and how it is written.

Everything here is read from the pydantic models in `vlmchat.settings`; a new field there needs
nothing here.
"""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from vlmchat import paths
from vlmchat.errors import UsageError
from vlmchat.settings import (
    Applies,
    Settings,
    load_settings,
    read_config,
)
from vlmchat.settings_faults import line_of, origin, reason_of
from vlmchat.text import visible_line

Kind: TypeAlias = Literal["bool", "choice", "int", "float", "text", "texts"]
Value: TypeAlias = str | int | float | bool | tuple[str, ...]

_WHEN: dict[Applies, str] = {
    "now": "Takes effect at once.",
    "engine restart": "Takes effect when the engine is restarted (/restart).",
    "new conversation": "Takes effect in new conversations; /parameters changes this one.",
    "next start": "Takes effect when vlmchat is started again.",
}


@dataclass(frozen=True, slots=True)
class SettingField:
    """One setting.

    Attributes:
        key: group and name, as ``ui.theme``.
        title: its name for a person.
        description: one or two sentences.
        kind: what is edited.
        choices: for ``choice``.
        optional: whether nothing is a value.
        secret: never shown.
        default: what holds when nothing is set.
        applies: when a change takes effect.
        model: the group it is checked by.
    """

    key: str
    title: str
    description: str
    kind: Kind
    choices: tuple[str, ...]
    optional: bool
    secret: bool
    default: Value | None
    applies: Applies
    model: type[BaseModel]

    @property
    def group(self) -> str:
        """The table it stands in."""
        return self.key.partition(".")[0]

    @property
    def name(self) -> str:
        """Its name in that table."""
        return self.key.partition(".")[2]

    @property
    def when(self) -> str:
        """One sentence on when a change takes effect."""
        if self.key == "chat.system":
            return "Takes effect in new conversations; /system changes this one."
        return _WHEN[self.applies]

    def parse(self, text: str) -> Value | None:
        """Return the value a person typed; ``None`` for nothing where that is a value.

        Raises:
            UsageError: it is none; one sentence.
        """
        value: object = text
        if self.kind == "texts":
            value = _texts(text)
        elif self.kind == "text":
            value = (text or None) if self.optional else _unescaped(text)
        else:
            value = text.strip()
            if not value and self.optional:
                value = None
        return self.check(value)

    def check(self, value: object) -> Value | None:
        """Return `value` as the settings would hold it.

        Raises:
            UsageError: it is none; one sentence.
        """
        try:
            checked: Value | None = getattr(self.model(**{self.name: value}), self.name)
        except ValidationError as error:
            shown = "That" if self.secret else f"“{visible_line(str(value))}”"
            reason = reason_of(error.errors()[0]["msg"])
            raise UsageError(f"{shown} is no value for {self.name}: {reason}.") from None
        return checked

    def written(self, value: Value | None) -> str:
        """Return `value` as a person would type it, so that `parse` gives it back."""
        if value is None:
            return ""
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, tuple):
            plain = len(value) == 1 and value[0].strip() == value[0] and value[0].isprintable()
            if plain and value[0][0] not in "[\"'":
                return value[0]
            return ", ".join(json.dumps(item, ensure_ascii=False) for item in value)
        if self.kind == "text" and not self.optional:
            return str(value).replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")
        return str(value)

    def shown(self, value: Value | None) -> str:
        """Return `value` as it is told, secrets as dots."""
        if value is None or value in ((), ""):
            if self.group == "sampling" and value is None:
                return "the engine's default"
            return "none"
        return "••••••••" if self.secret else visible_line(self.written(value))


def _texts(text: str) -> tuple[str, ...]:
    """Read ``END`` as one text, and ``"a", "b"`` as several, as TOML has them."""
    bare = text.strip()
    if not bare:
        return ()
    if bare[0] not in "[\"'":
        return (text,)
    source = bare if bare[0] == "[" else f"[{bare}]"
    try:
        items = tomllib.loads(f"v = {source}")["v"]
    except tomllib.TOMLDecodeError:
        items = None
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        if bare[0] == "[":
            return (text,)  # [END] is a text that happens to begin so
        raise UsageError(f'“{visible_line(text)}” is no list of texts: write it like "a", "b".')
    return tuple(items)


def _unescaped(text: str) -> str:
    signs = {"\\\\": "\\", "\\n": "\n", "\\t": "\t"}
    parts, at = [], 0
    while at < len(text):
        pair = text[at : at + 2]
        parts.append(signs.get(pair, text[at]))
        at += 2 if pair in signs else 1
    return "".join(parts)


def setting_fields() -> tuple[SettingField, ...]:
    """Return every setting that is one value, in the order of the schema.

    The table of keys is left to the keys screen.
    """
    found: list[SettingField] = []
    for group, info in Settings.model_fields.items():
        model = info.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            found += [_field(group, name, item, model) for name, item in model.model_fields.items()]
    return tuple(found)


def group_titles() -> dict[str, str]:
    """Return what each group of settings is about."""
    titles: dict[str, str] = {}
    for group, info in Settings.model_fields.items():
        text = (getattr(info.annotation, "__doc__", "") or "").splitlines()
        titles[group] = text[0].rstrip(".") if text else group
    return titles


def _field(group: str, name: str, info: FieldInfo, model: type[BaseModel]) -> SettingField:
    annotation: Any = info.annotation
    arms = get_args(annotation)
    optional = type(None) in arms
    if optional:
        annotation = next(arm for arm in arms if arm is not type(None))
    while get_origin(annotation) is not None and hasattr(annotation, "__metadata__"):
        annotation = get_args(annotation)[0]
    choices: tuple[str, ...] = ()
    kind: Kind = "text"
    levels = next((arm for arm in arms if get_origin(arm) is Literal), None)
    if levels is not None and int in arms:
        kind, choices = "choice", tuple(get_args(levels))  # a number is typed, as a command
    elif get_origin(annotation) is Literal:
        kind, choices = "choice", tuple(get_args(annotation))
    elif get_origin(annotation) is tuple:
        kind = "texts"
    elif annotation is bool:
        kind, choices = "bool", ("true", "false")
    elif annotation in (int, float):
        kind = "int" if annotation is int else "float"
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    return SettingField(
        key=f"{group}.{name}",
        title=info.title or name.replace("_", " ").capitalize(),
        description=" ".join((info.description or "").replace("``", "").split()).replace("`", ""),
        kind=kind,
        choices=choices,
        optional=optional,
        secret=bool(extra.get("secret")),
        default=info.default,
        applies=_applies(extra),
        model=model,
    )


def _applies(extra: Mapping[str, Any]) -> Applies:
    found: Applies = extra.get("applies", "next start")
    return found


@dataclass(frozen=True, slots=True)
class SettingState:
    """Where one setting stands.

    Attributes:
        value: what holds now, for a start with the same command line.
        own: what the configuration file says; the default when it says nothing.
        source: where `value` comes from, for a person.
        overridden: environment or command line stand above the file.
        in_file: the file sets it.
    """

    value: Value | None
    own: Value | None
    source: str
    overridden: bool
    in_file: bool


def source_of(keys: tuple[str, ...], overrides: Mapping[str, Mapping[str, Any]]) -> str:
    """Return where a value that is set comes from, in a few words; reads the file."""
    said = origin(keys, overrides)
    if said.startswith(("Command line", "Environment variable")):
        return said
    line = line_of(paths.config_file(), keys)
    return "config.toml" + (f" line {line}" if line else "")


def read_states(
    overrides: Mapping[str, Mapping[str, Any]],
) -> tuple[Settings, dict[str, SettingState]]:
    """Return the settings, and where each of them stands by its key; blocking.

    Raises:
        UsageError: the configuration is not valid; one sentence with file and line.
    """
    settings = load_settings(overrides)
    table = read_config(paths.config_file())
    states: dict[str, SettingState] = {}
    for field in setting_fields():
        keys = (field.group, field.name)
        group = table.get(field.group, {})
        in_file = field.name in group
        own = field.check(group[field.name]) if in_file else field.default
        said = source_of(keys, overrides) if in_file else origin(keys, overrides)
        overridden = said.startswith(("Command line", "Environment variable"))
        if not (in_file or overridden):
            said = "default"
        value = getattr(getattr(settings, field.group), field.name)
        states[field.key] = SettingState(value, own, said, overridden, in_file)
    return settings, states

"""JSON answers of a given shape: found in what a model says, and checked.

The shape is a JSON Schema (draft 2020-12), of which these keywords are known: ``type``, ``enum``,
``const``, ``properties``, ``required``, ``additionalProperties``, ``minProperties``,
``maxProperties``, ``items``, ``minItems``, ``maxItems``, ``uniqueItems``, ``minLength``,
``maxLength``, ``pattern``, ``minimum``, ``maximum``, ``exclusiveMinimum``, ``exclusiveMaximum``,
``multipleOf``, ``anyOf``, ``oneOf``, ``allOf``, ``not``, and ``$ref`` to ``#`` or below it.
Annotations (``title``, ``description``, ``format`` and the like) are passed over, as the standard
says. A schema with anything else is refused: what cannot be checked is not said to hold.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from vlmchat.errors import UsageError
from vlmchat.text import visible_line

_ANNOTATIONS = frozenset(
    {
        *("$schema", "$id", "$comment", "$defs", "definitions", "title", "description"),
        *("default", "examples", "format", "deprecated", "readOnly", "writeOnly"),
    }
)
_COUNTS = ("minProperties", "maxProperties", "minItems", "maxItems", "minLength", "maxLength")
_NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_SCHEMAS = ("items", "additionalProperties", "not")
_LISTS = ("anyOf", "oneOf", "allOf")
_OTHERS = ("type", "enum", "const", "properties", "required", "uniqueItems", "pattern", "$ref")
_KNOWN = _ANNOTATIONS | {*_COUNTS, *_NUMBERS, *_SCHEMAS, *_LISTS, *_OTHERS}
_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
}
_FENCE = re.compile(r"```(?:json)?[ \t]*\n(.*?)```", re.DOTALL)
_DEEPEST = 64


class Shape:
    """A schema, and what holds of it.

    Args:
        schema: as JSON gives it.

    Raises:
        UsageError: it has something that cannot be checked.
    """

    def __init__(self, schema: Any) -> None:  # noqa: ANN401 - JSON may be anything
        self.schema = schema
        self._look_through(schema, "#")

    @classmethod
    def read(cls, path: Path) -> "Shape":
        """Return the shape in a file.

        Raises:
            UsageError: it cannot be read, or not be checked.
        """
        name = visible_line(str(path))
        try:
            schema = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise UsageError(f"--schema: “{name}” is no JSON file that can be read.") from error
        try:
            return cls(schema)
        except UsageError as error:
            raise UsageError(f"--schema: “{name}”: {error}") from None

    def fault(self, value: Any) -> str | None:  # noqa: ANN401 - JSON may be anything
        """Return what is wrong with a value, in a few words; ``None`` where nothing is."""
        return next(self._faults(self.schema, value, "", 0), None)

    # The schema itself ----------------------------------------------------------------------------

    def _look_through(self, schema: Any, where: str) -> None:  # noqa: ANN401 - JSON
        if isinstance(schema, bool):
            return
        if not isinstance(schema, dict):
            raise UsageError(f"{where} is no schema.")
        unknown = sorted(set(schema) - _KNOWN)
        if unknown:
            raise UsageError(f"“{visible_line(unknown[0])}” at {where} cannot be checked here.")
        for name in schema:
            if not self._makes_sense(name, schema[name]):
                raise UsageError(f"“{name}” at {where} makes no sense.")
        for name in ("properties", "$defs", "definitions"):
            for key, inner in schema.get(name, {}).items():
                self._look_through(inner, f"{where}/{name}/{key}")
        for name in _SCHEMAS:
            if name in schema:
                self._look_through(schema[name], f"{where}/{name}")
        for name in _LISTS:
            for number, inner in enumerate(schema.get(name, [])):
                self._look_through(inner, f"{where}/{name}/{number}")

    def _makes_sense(self, name: str, value: Any) -> bool:  # noqa: ANN401 - a table
        if name == "type":
            names = value if isinstance(value, list) else [value]
            return bool(names) and all(isinstance(it, str) and it in _TYPES for it in names)
        if name in _COUNTS:
            return _is_integer(value) and value >= 0
        if name in _NUMBERS:
            return _TYPES["number"](value) and (name != "multipleOf" or value > 0)
        if name in ("properties", "$defs", "definitions"):
            return isinstance(value, dict)
        if name in (*_LISTS, "enum", "required"):
            texts = name == "required"
            return isinstance(value, list) and all(isinstance(it, str) or not texts for it in value)
        if name == "pattern":
            return isinstance(value, str) and _compiles(value)
        return name != "$ref" or (isinstance(value, str) and self._target(value) is not None)

    def _target(self, reference: str) -> Any:  # noqa: ANN401 - JSON
        """Return what ``#/…`` names in the schema; ``None`` for nothing."""
        found = self.schema
        if reference != "#" and not reference.startswith("#/"):
            return None
        for part in reference.split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, dict) or key not in found:
                return None
            found = found[key]
        return found if isinstance(found, dict | bool) else None

    # Values ---------------------------------------------------------------------------------------

    def _faults(self, schema: Any, value: Any, at: str, depth: int) -> Iterator[str]:  # noqa: ANN401
        here = at or "the value"
        if depth > _DEEPEST:
            yield f"{here} is nested too deeply"
            return
        if isinstance(schema, bool):
            if not schema:
                yield f"{here} must not be there"
            return
        kinds = schema.get("type")
        names = kinds if isinstance(kinds, list) else [kinds] if kinds else []
        if names and not any(_TYPES[name](value) for name in names):
            yield f"{here} must be {' or '.join(names)}, not {_kind(value)}"
            return
        if "enum" in schema and not any(_same(value, one) for one in schema["enum"]):
            yield f"{here} must be one of {_short(schema['enum'])}"
        if "const" in schema and not _same(value, schema["const"]):
            yield f"{here} must be {_short(schema['const'])}"
        if "$ref" in schema:
            yield from self._faults(self._target(schema["$ref"]), value, at, depth + 1)
        yield from self._combined(schema, value, at, depth)
        if isinstance(value, dict):
            yield from self._in_object(schema, value, at, depth)
        elif isinstance(value, list):
            yield from self._in_array(schema, value, at, depth)
        elif isinstance(value, str):
            yield from _in_text(schema, value, here)
        elif _TYPES["number"](value):
            yield from _in_number(schema, value, here)

    def _combined(self, schema: dict[str, Any], value: Any, at: str, depth: int) -> Iterator[str]:  # noqa: ANN401
        def faults(inner: Any) -> list[str]:  # noqa: ANN401 - JSON
            return list(self._faults(inner, value, at, depth + 1))

        here = at or "the value"
        for inner in schema.get("allOf", ()):
            yield from faults(inner)
        if "anyOf" in schema:
            found = [faults(inner) for inner in schema["anyOf"]]
            if all(found):
                yield found[0][0] if len(found) == 1 else f"{here} is none of what it may be"
        if "oneOf" in schema:
            fitting = sum(not faults(inner) for inner in schema["oneOf"])
            if fitting != 1:
                yield f"{here} fits {fitting} of the shapes of which it must be exactly one"
        if "not" in schema and not faults(schema["not"]):
            yield f"{here} is what it must not be"

    def _in_object(
        self, schema: dict[str, Any], value: dict[str, Any], at: str, depth: int
    ) -> Iterator[str]:
        here, known = at or "the object", schema.get("properties", {})
        for name in schema.get("required", ()):
            if name not in value:
                yield f"{here} lacks “{name}”"
        yield from _counted(schema, len(value), "Properties", here)
        for name, inner in value.items():
            place = f"{at}.{name}" if at else name
            if name in known:
                yield from self._faults(known[name], inner, place, depth + 1)
            elif schema.get("additionalProperties") is False:
                yield f"{here} must not have “{name}”"
            elif "additionalProperties" in schema:
                yield from self._faults(schema["additionalProperties"], inner, place, depth + 1)

    def _in_array(
        self, schema: dict[str, Any], value: list[Any], at: str, depth: int
    ) -> Iterator[str]:
        here = at or "the list"
        yield from _counted(schema, len(value), "Items", here)
        if schema.get("uniqueItems") and any(
            _same(one, other) for i, one in enumerate(value) for other in value[:i]
        ):
            yield f"{here} has the same twice"
        for number, inner in enumerate(value):
            if "items" in schema:
                yield from self._faults(schema["items"], inner, f"{at}[{number}]", depth + 1)


def _in_text(schema: dict[str, Any], value: str, here: str) -> Iterator[str]:
    yield from _counted(schema, len(value), "Length", here)
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{here} must match {schema['pattern']}"


def _in_number(schema: dict[str, Any], value: float, here: str) -> Iterator[str]:
    if "minimum" in schema and value < schema["minimum"]:
        yield f"{here} must be at least {schema['minimum']}"
    if "maximum" in schema and value > schema["maximum"]:
        yield f"{here} must be at most {schema['maximum']}"
    if "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]:
        yield f"{here} must be more than {schema['exclusiveMinimum']}"
    if "exclusiveMaximum" in schema and value >= schema["exclusiveMaximum"]:
        yield f"{here} must be less than {schema['exclusiveMaximum']}"
    if "multipleOf" in schema and not _is_integer(value / schema["multipleOf"]):
        yield f"{here} must be a multiple of {schema['multipleOf']}"


def _counted(schema: dict[str, Any], count: int, what: str, here: str) -> Iterator[str]:
    words = {"Length": "characters", "Items": "items", "Properties": "fields"}[what]
    if count < schema.get(f"min{what}", 0):
        yield f"{here} must have at least {schema[f'min{what}']} {words}"
    if count > schema.get(f"max{what}", count):
        yield f"{here} must have at most {schema[f'max{what}']} {words}"


def _is_integer(value: Any) -> bool:  # noqa: ANN401 - JSON
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return whole and not isinstance(value, bool)


_TYPES["integer"] = _is_integer


def _same(one: Any, other: Any) -> bool:  # noqa: ANN401 - JSON, in which true is not 1
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return bool(one == other)


def _kind(value: Any) -> str:  # noqa: ANN401 - JSON
    return next((name for name, holds in _TYPES.items() if holds(value)), "that")


def _short(value: Any) -> str:  # noqa: ANN401 - JSON
    return json.dumps(value, ensure_ascii=False)[:200]


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


def found_json(text: str) -> Any:  # noqa: ANN401 - JSON may be anything
    """Return the JSON in what a model said: all of it, in a fence, or the first object or list.

    Raises:
        ValueError: there is none.
    """
    fenced = _FENCE.search(text)
    for candidate in (text, *([fenced.group(1)] if fenced else [])):
        try:
            return json.loads(candidate, parse_constant=_no_number)
        except (ValueError, RecursionError):
            continue
    decoder = json.JSONDecoder(parse_constant=_no_number)
    for match in re.finditer(r"[\[{]", text):
        try:
            return decoder.raw_decode(text, match.start())[0]
        except (ValueError, RecursionError):
            continue
    raise ValueError("there is no JSON in it")


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no JSON")

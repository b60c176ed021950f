"""Shapes agree with the reference implementation of JSON Schema, or say that they cannot."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from vlmchat.batch.shapes import Shape, found_json
from vlmchat.errors import UsageError

SCHEMAS: list[Any] = [
    True,
    False,
    {},
    {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}},
    {"properties": {"a": {"type": ["number", "null"]}}, "additionalProperties": False},
    {"additionalProperties": {"type": "string"}, "minProperties": 1, "maxProperties": 2},
    {"type": "array", "items": {"enum": [1, "a", None, [True]]}, "minItems": 1, "maxItems": 3},
    {"uniqueItems": True, "items": {"type": ["number", "boolean"]}},
    {"type": "string", "minLength": 1, "maxLength": 2, "pattern": "^a"},
    {"type": "number", "minimum": 0, "exclusiveMaximum": 2},
    {"maximum": 1.5, "exclusiveMinimum": -1, "multipleOf": 0.5},
    {"const": {"a": 1}},
    {"anyOf": [{"type": "string"}, {"required": ["a"], "type": "object"}]},
    {"oneOf": [{"minimum": 1}, {"maximum": 1}]},
    {"allOf": [{"type": "object"}, {"not": {"required": ["b"]}}], "title": "x", "format": "date"},
    {
        "$defs": {"tree": {"type": "object", "properties": {"a": {"$ref": "#/$defs/tree"}}}},
        "$ref": "#/$defs/tree",
    },
]
VALUES: list[Any] = [
    *(None, True, False, 0, 1, 1.0, 1.5, 2, -3, "", "a", "ab", "b", "abc"),
    *([], [1], [1, 1.0], [True, 1], [True], [[True]], ["a", None], [1, "a", None, 1]),
    *({}, {"a": 1}, {"a": 1.5}, {"a": "x"}, {"b": 1}, {"a": {}}, {"a": {"a": 3}}),
    {"a": "x", "b": "y", "c": "z"},
]


def test_as_the_reference_says() -> None:
    for schema, value in itertools.product(SCHEMAS, VALUES):
        fault = Shape(schema).fault(value)
        expected = Draft202012Validator(schema).is_valid(value)
        assert (fault is None) == expected, (schema, value, fault)


@pytest.mark.parametrize(
    "schema",
    [
        [],
        {"if": {}},
        {"properties": {"a": {"patternProperties": {}}}},
        {"type": "text"},
        {"pattern": "("},
        {"$ref": "https://example.org/x"},
        {"$ref": "#/$defs/none"},
        {"items": [{}, {}]},
        {"required": True},
        {"minLength": -1},
    ],
)
def test_what_cannot_be_checked_is_refused(schema: Any, tmp_path: Path) -> None:
    path = tmp_path / "shape.json"
    path.write_text(json.dumps(schema))
    with pytest.raises(UsageError, match="--schema: "):
        Shape.read(path)


def test_json_is_found_in_what_models_say() -> None:
    for text in (
        '{"a": [1, "}"]}',
        'Here it is:\n```json\n{"a": [1, "}"]}\n```\nAnything else?',
        'Sure {not this}: {"a": [1, "}"]} as you [wished].',
    ):
        assert found_json(text) == {"a": [1, "}"]}
    for text in ("", "no", '{"a": NaN}', "{" * 5000):
        with pytest.raises(ValueError):
            found_json(text)
    assert Shape({"$ref": "#"}).fault(1) is not None

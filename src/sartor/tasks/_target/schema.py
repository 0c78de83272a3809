"""JSON Schema of answers, in pieces."""

from collections.abc import Collection, Mapping
from typing import Any

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
PLACE: Schema = {"type": "integer", "minimum": 0}
"""Of a character."""


def or_null(schema: Schema) -> Schema:
    """The same, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def list_of(schema: Schema) -> Schema:
    """Any number of the same."""
    return {"type": "array", "items": schema}


def object_of(properties: Mapping[str, Schema], optional: Collection[str] = ()) -> Schema:
    """An object; what is not optional is there."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [name for name in properties if name not in optional],
    }

"""The JSON Schema of need.yaml, so that editors complete it and mark mistakes."""

from collections.abc import Mapping
from typing import Any

from sartor.core.types import Roles
from sartor.need.model import NO_KEYS, Need


def json_schema(tasks: Mapping[str, Roles]) -> dict[str, Any]:
    """Draft 2020-12.

    Args:
        tasks: Every task by name; its roles become keys under `data`.
    """
    schema = Need.model_json_schema()
    definitions = schema["$defs"]
    for unused in ("Criterion", "Bound", "Compare", "Combine"):
        definitions.pop(unused, None)
    for name in ("Part", "Case"):
        definitions[name]["properties"].pop("line")
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Sartor need"
    schema["properties"]["task"]["enum"] = sorted(tasks)
    schema["properties"]["accept"] = {
        "type": "array",
        "minItems": 1,
        "maxItems": 200,
        "items": {
            "type": "string",
            "examples": ["accuracy >= 0.80", "recall[label=refund] >= 0.9"],
        },
    }
    data = definitions["Data"]
    for name in NO_KEYS:
        data["properties"].pop(name)
    for roles in tasks.values():
        for role, kind in {**roles.inputs, **roles.targets}.items():
            data["properties"][role] = {"type": "string", "description": f"Column of the {kind}."}
    data["properties"]["columns"] = _columns(data["properties"]["columns"]["description"])
    for key, what in _SOURCES.items():
        data["properties"][key] = _one_or_many(what)
    # Unquoted, a label may look like a number or a truth value to an editor; it is read as text.
    scalar = {"type": ["string", "number", "boolean", "null"]}
    data["properties"]["labels"] = {
        "description": "The labels there are; a row with another one is an error.",
        "type": "array",
        "items": scalar,
        "uniqueItems": True,
    }
    definitions["Costs"]["properties"]["targets"] = _targets(definitions)
    llm = definitions["Preferences"]["properties"]["llm"]
    llm["anyOf"].append({"type": "string", "description": definitions["LocalLlm"]["description"]})
    if len(tasks) == 1:
        (only,) = tasks.values()
        data["required"] = ["train", *only.required()]
    else:
        schema["allOf"] = [_required(name, roles) for name, roles in sorted(tasks.items())]
    return schema


def _required(task: str, roles: Roles) -> dict[str, Any]:
    """What stands under `data` depends on the task."""
    return {
        "if": {"properties": {"task": {"const": task}}, "required": ["task"]},
        "then": {"properties": {"data": {"required": ["train", *roles.required()]}}},
    }


def _columns(description: str) -> dict[str, Any]:
    kind = {"type": "string", "enum": ["auto", "number", "category", "date"]}
    named = {"type": "object", "additionalProperties": kind}
    return {
        "description": description,
        "anyOf": [
            {"type": "array", "minItems": 1, "items": {"anyOf": [{"type": "string"}, named]}},
            named,
        ],
    }


_SOURCES = {
    "train": "File, folder or hub id with the examples.",
    "test": "Official test rows; without it a test set is split off and kept.",
    "validation": "Official validation rows.",
    "documents": "Files with the documents that retrieval finds, or the items that recommendation"
    " chooses among and mastery asks: columns id and text, and of mastery skill.",
    "unlabelled": "Texts without labels: smaller models learn from them, and prefer.pretrain may"
    " read them.",
}


def _targets(definitions: dict[str, Any]) -> dict[str, Any]:
    """What a target leaves out is taken from the shipped one: no key is required."""
    known: dict[str, Any] = {}
    for name in ("PerUse", "Machine"):
        known |= definitions.pop(name)["properties"]
    known["kind"] = {"type": "string", "enum": ["per_use", "machine"]}
    return {
        "description": "Prices that replace or extend the shipped ones: target to its keys.",
        "type": "object",
        "additionalProperties": {
            "type": "object",
            "properties": known,
            "additionalProperties": False,
        },
    }


def _one_or_many(description: str) -> dict[str, Any]:
    return {
        "description": description,
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
    }

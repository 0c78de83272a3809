"""The JSON Schema accepts what the reader accepts and refuses what it refuses.

No validator library is among the dependencies, so the few keywords that the schema uses are
checked by the small interpreter below; a keyword it does not know fails the test.
"""

import json
import re
from typing import Any

import pytest

from sartor.core.types import Roles
from sartor.need.costs import Costs
from sartor.need.model import NO_KEYS, Budget, Data, Need, Preferences
from sartor.need.schema import json_schema

TEXT = Roles(inputs={"text": "text"}, targets={"label": "label"})
IMAGE = Roles(inputs={"image": "image"}, targets={"label": "label"})
GOOD: dict[str, Any] = {
    "name": "reviews",
    "task": "text_classification",
    "data": {"train": "reviews.csv", "text": "review", "label": "score"},
    "accept": ["accuracy >= 0.80"],
}
KINDS = {
    "string": str,
    "number": int | float,
    "integer": int,
    "boolean": bool,
    "array": list,
    "object": dict,
    "null": type(None),
}
NOTES = {"$schema", "$defs", "title", "description", "default", "examples"}


def is_kind(value: object, kind: str) -> bool:
    if isinstance(value, bool) and kind in ("number", "integer"):
        return False
    return isinstance(value, KINDS[kind])


def fits(value: Any, rule: dict[str, Any], root: dict[str, Any]) -> bool:
    return all(holds(value, key, rule, root) for key in rule if key not in NOTES)


def holds(value: Any, key: str, rule: dict[str, Any], root: dict[str, Any]) -> bool:
    wanted = rule[key]
    if key == "$ref":
        return fits(value, root["$defs"][wanted.removeprefix("#/$defs/")], root)
    if key == "anyOf":
        return any(fits(value, option, root) for option in wanted)
    if key == "type":
        return any(
            is_kind(value, kind) for kind in ([wanted] if isinstance(wanted, str) else wanted)
        )
    if key == "enum":
        return value in wanted
    return held_when_it_applies(value, key, rule, root)


def held_when_it_applies(value: Any, key: str, rule: dict[str, Any], root: dict[str, Any]) -> bool:
    wanted = rule[key]
    if key in ("minLength", "maxLength", "pattern"):
        if not isinstance(value, str):
            return True
        if key == "pattern":
            return re.search(wanted, value) is not None
        return len(value) >= wanted if key == "minLength" else len(value) <= wanted
    if key in ("minimum", "exclusiveMinimum", "exclusiveMaximum"):
        if not isinstance(value, int | float):
            return True
        if key == "exclusiveMaximum":
            return value < wanted
        return value > wanted or (key == "minimum" and value == wanted)
    if key in ("items", "minItems", "maxItems", "uniqueItems"):
        if not isinstance(value, list):
            return True
        return {
            "items": lambda: all(fits(item, wanted, root) for item in value),
            "minItems": lambda: len(value) >= wanted,
            "maxItems": lambda: len(value) <= wanted,
            "uniqueItems": lambda: len(set(map(repr, value))) == len(value),
        }[key]()
    if not isinstance(value, dict):
        return True
    return {
        "properties": lambda: all(fits(value[k], wanted[k], root) for k in value if k in wanted),
        "required": lambda: all(k in value for k in wanted),
        "additionalProperties": lambda: (
            all(fits(value[k], wanted, root) for k in set(value) - set(rule.get("properties", {})))
            if isinstance(wanted, dict)
            else not (set(value) - set(rule["properties"]))
        ),
    }[key]()


def valid(document: dict[str, Any]) -> bool:
    schema = json_schema({"text_classification": TEXT})
    return fits(document, schema, schema)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"data": {**GOOD["data"], "train": ["a.csv", "b.csv"], "test": "t.csv"}},
        {"data": {**GOOD["data"], "validation": ["v.csv"], "labels": ["no", 1, True]}},
        {"data": {**GOOD["data"], "time": "day", "feedback": True}},
        {"budget": {"minutes": 10, "memory_gb": None}, "prefer": {"methods": ["lora"]}},
        {"confidence": 0.9, "seed": 3, "language": "zh"},
        {"costs": {"target": "vm", "price_per_1000": 0.5, "requests": [1000]}},
        {"costs": {"targets": {"vm": {"rent_per_month": 20}, "x": {"kind": "machine"}}}},
    ],
)
def test_the_schema_accepts_good_needs(change):
    assert valid({**GOOD, **change})


@pytest.mark.parametrize(
    "change",
    [
        {"nmae": "x"},
        {"name": "a/b"},
        {"task": "text_clasification"},
        {"accept": []},
        {"accept": [0.8]},
        {"accept": "accuracy >= 0.8"},
        {"data": "reviews.csv"},
        {"data": {"train": "reviews.csv", "text": "review"}},
        {"data": {**GOOD["data"], "txet": "review"}},
        {"data": {**GOOD["data"], "train": 3}},
        {"data": {**GOOD["data"], "roles": {}}},
        {"data": {**GOOD["data"], "labels": ["a", "a"]}},
        {"budget": {"minutes": 0}},
        {"budget": {"hours": 1}},
        {"costs": {"tagret": "vm"}},
        {"costs": {"price_per_1000": 0}},
        {"costs": {"requests": [0]}},
        {"costs": {"targets": {"vm": {"rent": 20}}}},
        {"costs": {"targets": {"vm": {"rent_per_month": -1}}}},
        {"confidence": 95},
        {"seed": -1},
        {"language": "fr"},
    ],
)
def test_the_schema_refuses_bad_needs(change):
    assert not valid({**GOOD, **change})


@pytest.mark.parametrize("key", ["name", "task", "data", "accept"])
def test_the_schema_asks_for_what_the_reader_asks_for(key):
    assert not valid({k: v for k, v in GOOD.items() if k != key})


def test_the_schema_is_json_without_dangling_references():
    schema = json_schema({"text_classification": TEXT, "image_classification": IMAGE})
    text = json.dumps(schema)
    references = set(re.findall(r'"#/\$defs/(\w+)"', text))
    assert references <= set(schema["$defs"])
    assert set(schema["$defs"]) <= references
    assert schema["$schema"].endswith("2020-12/schema")


def test_every_task_adds_its_columns():
    schema = json_schema({"text_classification": TEXT, "image_classification": IMAGE})
    assert schema["properties"]["task"]["enum"] == ["image_classification", "text_classification"]
    data = schema["$defs"]["Data"]
    assert {"text", "image", "label"} <= set(data["properties"])
    assert data["required"] == ["train"], "no role is asked of every task"


def test_every_key_that_the_reader_knows_is_described_for_editors():
    schema = json_schema({"text_classification": TEXT})
    for model in (Data, Budget, Preferences, Costs):
        shown = schema["$defs"][model.__name__]["properties"]
        known = set(model.model_fields) - {*NO_KEYS}
        assert known <= set(shown)
        assert all(shown[key].get("description") for key in known)
    assert set(schema["properties"]) == set(Need.model_fields)

"""A bundle that recommends: in process, over HTTP, by the protocol, and what it says of itself."""

import json
from pathlib import Path

import numpy as np
import pytest

from sartor.bundle import Bundle
from sartor.core.columns import Column
from sartor.core.errors import RequestError
from sartor.serve.rows import example_row
from sartor.serve.runtime import Runtime, load
from sartor.shrink.export import to_onnx
from sartor.tasks.recommendation.model import Near, made_of
from tests.serve.conftest import Serving, answers_alike
from tests.serve.of_items import bundle_of_items

ITEMS = [f"i{n}" for n in range(12)]
LENGTH = 200


def made(place: Path) -> Bundle:
    """Item n follows item n − 1; else the lower the number, the more popular."""
    place.mkdir()
    after = (np.arange(12)[:, None] + 1) % 12
    decay = (0.5 ** np.arange(LENGTH)).astype(np.float32)
    near = Near(after, np.full((12, 1), 9.0, np.float32), decay)
    made_of(-0.1 * np.arange(12, dtype=np.float32), LENGTH, near, []).save(place / "fit")
    to_onnx(place / "fit", "recommendation", place / "model.onnx")
    told = {
        "task": "recommendation",
        "inputs": {"history": "items"},
        "decision": {"temperature": 1.0, "shown": 3, "repeats": False, "sureness": [1, 0, -3]},
    }
    column = Column(kind="items", values=ITEMS)
    to = place.parent / f"{place.name}-bundle"
    return bundle_of_items(place, place / "model.onnx", column, told, to)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """Takes the place of the bundle of one text."""
    return made(tmp_path / "next")


@pytest.fixture
def loaded(bundle: Bundle) -> Runtime:
    return load(bundle.folder, threads=1)


def listed(answer) -> list[str]:
    return [entry["id"] for entry in answer["documents"]]


def test_the_history_decides_and_a_newcomer_gets_what_is_popular(loaded: Runtime):
    after, new = loaded.predict([{"history": ["i7", "i4"]}, {"history": []}])
    assert listed(after) == ["i5", "i8", "i0"]
    assert after["documents"][0]["text"] == "text of i5"
    assert listed(new) == ["i0", "i1", "i2"]
    assert after["confidence"] > new["confidence"]


def test_a_row_may_exclude_items_and_ask_for_more(loaded: Runtime):
    row = {"history": ["i4"], "exclude": ["i5", "unheard of"], "k": 5}
    (answer,) = loaded.predict([row])
    assert listed(answer) == ["i0", "i1", "i2", "i3", "i6"]
    (all_of_them,) = loaded.predict([{"history": ITEMS}])
    assert (all_of_them["answer"], all_of_them["documents"]) == (None, [])


def test_items_that_are_not_known_are_passed_by_and_said(loaded: Runtime):
    odd, plain = loaded.predict([{"history": ["gone", "i4"]}, {"history": ["i4"]}])
    assert listed(odd) == listed(plain)
    assert "'gone'" in odd["notes"][0]
    assert "notes" not in plain


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"history": "i4"}, "key 'history' is the text 'i4', not a list"),
        ({"history": [["i4"]]}, "key 'history' holds"),
        ({"history": ["i4"], "k": 0}, "key 'k' is 0"),
        ({"history": ["i4"], "exclude": {"i5": 1}}, "key 'exclude' is"),
        ({"history": ["i4"], "excluded": []}, "has the key 'excluded'"),
        ({"k": 3}, "lacks the key 'history'"),
        ("i4", "not a mapping"),
    ],
)
def test_a_row_that_cannot_be_used_is_told_by_row_and_key(loaded: Runtime, row, words):
    with pytest.raises(RequestError) as caught:
        loaded.predict([{"history": []}, row])
    assert words in caught.value.what
    assert "Row 1" in caught.value.what
    assert caught.value.fix


def test_answers_are_the_same_alone_beside_others_and_from_the_cache(bundle: Bundle):
    rows = [{"history": ITEMS[n % 7 : n % 11]} for n in range(60)]
    answers_alike(bundle, rows)


def test_over_http_rows_answers_and_corrections_have_the_form_that_is_said(serving: Serving):
    row = {"history": ["i4"], "k": 2}
    with serving() as running:
        reply = running.client.post("/v1/predict", json={"inputs": [row]}).json()
        assert listed(reply["outputs"][0]) == ["i5", "i0"]
        told = running.client.get("/v1/model").json()
        assert told["target"] == "documents"
        assert told["fields"] == [{"name": "history", "kind": "items", "values": []}]
        said = {"request_id": reply["request_id"], "documents": ["i0"], "inputs": row}
        assert running.client.post("/v1/feedback", json=said).status_code == 201
        schemas = running.client.get("/openapi.json").json()["components"]["schemas"]
        rows = schemas["PredictBody"]["properties"]["inputs"]
        assert set(rows["items"]["properties"]) == {"history", "exclude", "k"}
        assert rows["items"]["required"] == ["history"]
        (example,) = rows["examples"][0]
        assert running.client.post("/v1/predict", json={"inputs": [example]}).status_code == 200
        infer = "/v2/models/tickets/infer"
        (tensors,) = schemas["InferenceRequest"]["properties"]["inputs"]["examples"]
        assert running.client.post(infer, json={"inputs": tensors}).status_code == 200
        sent = [{"name": "history", "shape": [2], "datatype": "BYTES", "data": ['["i4"]', ""]}]
        found = running.client.post(infer, json={"inputs": sent})
        assert found.status_code == 200, found.text
        outputs = {one["name"]: one for one in found.json()["outputs"]}
        assert outputs["probabilities"]["shape"] == [2, 12]
        wrong = [{"name": "history", "shape": [1], "datatype": "BYTES", "data": ["i4"]}]
        refused = running.client.post(infer, json={"inputs": wrong})
        assert refused.status_code == 400
        assert "not a list of ids" in refused.json()["error"]


def test_the_card_shows_a_row_that_can_be_asked(bundle: Bundle, loaded: Runtime):
    row = example_row(bundle.manifest, "a text")
    assert repr(row) in bundle.path("README.md").read_text()
    assert "notes" not in loaded.predict([row])[0]
    assert json.loads((bundle.folder / "manifest.json").read_text())["format"] == 4

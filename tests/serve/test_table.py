"""A bundle that reads columns: in process, over HTTP, and on the page."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from sartor.bundle import Bundle, Preprocess, record_verdicts, write_bundle
from sartor.core.columns import TableCode
from sartor.core.errors import BundleError, RequestError
from sartor.core.store import Store
from sartor.core.texts import Cells, read_back
from sartor.listen.export import corrections
from sartor.serve.rows import example_row
from sartor.serve.runtime import Runtime, load
from sartor.serve.timing import Load
from sartor.serve.timing import measure as time_it
from sartor.serve.using import measure as use_it
from sartor.tune.fused import wordless
from tests.serve.conftest import LABELS, Serving, answers_alike, manifest_of, write_parts

KINDS = {"amount": "number", "purpose": "category", "since": "date"}
SEEN = [
    Cells.of({"amount": 10 * i, "purpose": ("car", "boat")[i % 2], "since": f"2026-01-{i + 1:02}"})
    for i in range(10)
]
CODE = TableCode.fit(SEEN, KINDS)
CASE = {"amount": 40, "purpose": "boat", "since": "2026-01-03"}
SHORT = Load(requests=6, threads=1, processes=1, warm_up=1)


def table_graph(beside: onnx.ModelProto | None) -> onnx.ModelProto:
    """logits = amount · (1, 0, −1), plus those of a text where there is one."""
    weight = np.zeros((CODE.width, len(LABELS)), np.float32)
    weight[0] = (1, 0, -1)
    given = [helper.make_tensor_value_info("columns", TensorProto.FLOAT, ["batch", CODE.width])]
    kept = [numpy_helper.from_array(weight, "weight")]
    nodes = [helper.make_node("MatMul", ["columns", "weight"], ["said"])]
    if beside is None:
        nodes[0].output[0] = "logits"
    else:
        inner = beside.graph
        inner.node[-1].output[0] = "words"
        nodes = [*inner.node, *nodes, helper.make_node("Add", ["words", "said"], ["logits"])]
        given, kept = [*inner.input, *given], [*inner.initializer, *kept]
    out = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(LABELS)])]
    graph = helper.make_graph(nodes, "table", given, out, kept)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def made(place: Path, *, text: bool) -> Bundle:
    place.mkdir()
    parts = write_parts(place, 4.0)
    onnx.save(table_graph(onnx.load(parts["model.onnx"]) if text else None), parts["model.onnx"])
    if not text:
        wordless().save(str(parts["tokenizer.json"]))
    read = Preprocess(columns=CODE)
    update = {
        "task": "tabular_text",
        "inputs": ({"text": "text"} if text else {}) | KINDS,
        "preprocess": read,
        "format": read.format,
    }
    manifest = manifest_of().model_copy(update=update)
    found = write_bundle(place.parent / f"{place.name}-bundle", manifest, parts, "name: tickets\n")
    return record_verdicts(found, [], released=True)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """Takes the place of the bundle of one text."""
    return made(tmp_path / "alone", text=False)


@pytest.fixture
def loaded(bundle: Bundle) -> Runtime:
    return load(bundle.folder, threads=1)


@pytest.fixture
def both(tmp_path: Path) -> Runtime:
    return load(made(tmp_path / "both", text=True).folder, threads=1)


def test_columns_decide_alone_and_beside_a_text(loaded: Runtime, both: Runtime):
    low, high = ({**CASE, "amount": amount} for amount in (0, 90))
    assert [a["label"] for a in loaded.predict([high, low])] == ["refund", "other"]
    tax = both.predict([{**high, "text": "tax"}, {**high, "text": ""}, {**high, "text": None}])
    assert [a["label"] for a in tax] == ["invoice", "refund", "refund"]
    assert loaded.predict([]) == []


def test_rows_are_answered_as_alone_with_a_cache_and_without(tmp_path: Path):
    bundle = made(tmp_path / "both", text=True)
    draw = np.random.default_rng(0)
    rows = [
        {**CASE, "amount": int(draw.integers(0, 90)), "text": " ".join(["tax"] * int(count))}
        for count in draw.integers(0, 9, 50)
    ]
    answers_alike(bundle, rows)


def test_an_answer_says_what_no_training_row_was_like(loaded: Runtime):
    usual, odd = loaded.predict([CASE, {"amount": 1e6, "purpose": "zebra", "since": None}])
    assert "notes" not in usual
    assert [note.split()[0] for note in odd["notes"]] == ["amount", "purpose", "since"]
    assert "outside the learnt 0 to 90" in odd["notes"][0]
    # Beyond the range is at its end.
    (end,) = loaded.predict([{"amount": 90, "purpose": "zebra", "since": None}])
    assert odd["probabilities"] == end["probabilities"]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"amount": "40"}, "key 'amount' is the text '40', not a number"),
        ({"amount": True}, "key 'amount' is True, not a number"),
        ({"amount": [1]}, "key 'amount'"),
        ({"purpose": ["boat"]}, "key 'purpose' is list"),
        ({"purpose": "\ud800"}, "surrogate"),
        ({"since": "soon"}, "key 'since' is 'soon', not a date"),
        ({"since": 3}, "key 'since'"),
        ({"colour": "red"}, "has the key 'colour'"),
    ],
)
def test_a_value_of_another_kind_is_refused_by_row_and_key(loaded: Runtime, change, word):
    with pytest.raises(RequestError, match=word.replace("(", r"\(")) as caught:
        loaded.predict([CASE, CASE | change])
    assert caught.value.status == 422
    assert "Row 1" in caught.value.what
    assert caught.value.fix


def test_every_key_must_be_there(loaded: Runtime):
    for key in CASE:
        row = {name: value for name, value in CASE.items() if name != key}
        with pytest.raises(RequestError, match=f"lacks the key '{key}'"):
            loaded.predict([row])
    with pytest.raises(RequestError, match="not a mapping"):
        loaded.predict(["a text"])


def test_columns_are_answered_over_http_and_said_in_the_document(serving: Serving):
    with serving() as running:
        reply = running.client.post("/v1/predict", json={"inputs": [{**CASE, "amount": 90}]})
        assert reply.json()["outputs"][0]["label"] == "refund"
        wrong = running.client.post("/v1/predict", json={"inputs": [{**CASE, "amount": "9"}]})
        assert (wrong.status_code, "amount" in wrong.json()["error"]["what"]) == (422, True)
        fields = running.client.get("/v1/model").json()["fields"]
        assert {field["name"]: field["kind"] for field in fields} == KINDS
        assert fields[1]["values"] == ["boat", "car"]
        schemas = running.client.get("/openapi.json").json()["components"]["schemas"]
        row = schemas["PredictBody"]["properties"]["inputs"]
        assert row["items"]["properties"]["amount"] == {"type": ["number", "null"]}
        assert row["items"]["required"] == list(KINDS)
        (example,) = row["examples"][0]
        assert running.client.post("/v1/predict", json={"inputs": [example]}).status_code == 200
        assert "notes" in schemas["Answer"]["properties"]


def test_the_protocol_takes_a_tensor_of_its_own_kind_for_each_column(serving: Serving):
    infer = "/v2/models/tickets/infer"
    amount = {"name": "amount", "shape": [2], "datatype": "FP64", "data": [90, None]}
    words = {"shape": [2], "datatype": "BYTES"}
    purpose = words | {"name": "purpose", "data": ["boat", ""]}
    since = words | {"name": "since", "data": ["2026-01-03", ""]}
    with serving() as running:
        found = running.client.post(infer, json={"inputs": [since, amount, purpose]})
        assert found.status_code == 200, found.text
        assert found.json()["outputs"][0]["data"][0] == "refund"
        told = running.client.get("/v2/models/tickets").json()["inputs"]
        assert [one["datatype"] for one in told] == ["FP64", "BYTES", "BYTES"]
        for odd, word in (
            (amount | {"data": ["90", "9"]}, "inputs.0.data"),
            (amount | {"datatype": "BYTES"}, "datatype 'BYTES'"),
            (amount | {"data": [90]}, "shape [2] and 1 numbers"),
        ):
            refused = running.client.post(infer, json={"inputs": [odd, purpose, since]})
            assert refused.status_code == 400
            assert word in refused.json()["error"]
        schemas = running.client.get("/openapi.json").json()["components"]["schemas"]
        (example,) = schemas["InferenceRequest"]["properties"]["inputs"]["examples"]
        assert running.client.post(infer, json={"inputs": example}).status_code == 200


def test_kept_rows_and_rows_sent_along_are_what_is_learnt_from(serving: Serving):
    with serving(store_texts=True) as running:
        ids = [
            running.client.post("/v1/predict", json={"inputs": [CASE]}).json()["request_id"]
            for _ in range(2)
        ]
        said = {"request_id": ids[0], "label": "other"}
        assert running.client.post("/v1/feedback", json=said).status_code == 201
        along = {"request_id": ids[1], "label": "refund", "inputs": {**CASE, "amount": None}}
        assert running.client.post("/v1/feedback", json=along).status_code == 201
        wrong = running.client.post("/v1/feedback", json=said | {"text": "a text"})
        assert (wrong.status_code, "under 'inputs'" in wrong.text) == (422, True)
        store = running.store
    with Store.open(store) as opened:
        found = {c["label"]: read_back(c["text"], 1, cells=True) for c in corrections(opened)}
    assert found == {"other": Cells.of(CASE), "refund": Cells.of({**CASE, "amount": None})}


def test_a_bundle_of_columns_is_timed_and_measured_in_fresh_processes(bundle: Bundle):
    assert time_it(bundle.folder, SEEN[:3], SHORT).shape == (1, 6)
    assert use_it(bundle.folder, SEEN[:3], SHORT).cpu > 0


def test_the_card_shows_a_row_that_can_be_asked(bundle: Bundle, loaded: Runtime):
    card = bundle.path("README.md").read_text()
    assert "amount (number); purpose (category); since (date)." in card
    row = example_row(bundle.manifest, "a text")
    assert repr(row) in card
    assert "notes" not in loaded.predict([row])[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m["preprocess"].pop("columns"),
        lambda m: m["inputs"].pop("amount"),
        lambda m: m.update(format=2),
        lambda m: m["preprocess"]["columns"]["columns"]["amount"].update(kind="colour"),
    ],
)
def test_a_manifest_whose_columns_do_not_fit_is_refused(bundle: Bundle, change):
    place = bundle.folder / "manifest.json"
    manifest = json.loads(place.read_text())
    change(manifest)
    place.write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"manifest\.json"):
        load(bundle.folder)

"""A bundle that reads two texts: in process, over HTTP, over the protocol, and on the page."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from sartor.bundle import Bundle, record_verdicts, write_bundle
from sartor.core.errors import RequestError
from sartor.core.store import Store
from sartor.core.texts import written
from sartor.listen.export import corrections
from sartor.serve.runtime import Runtime, load
from sartor.serve.timing import Load
from sartor.serve.timing import measure as time_it
from sartor.serve.using import measure as use_it
from tests.serve.conftest import (
    LABELS,
    Running,
    Serving,
    answers_alike,
    manifest_of,
    write_parts,
)
from tests.serve.test_browser import BROWSER, Browser, browser, shown

__all__ = ["browser"]

INPUTS = {"text": "text", "text_pair": "text"}
SHORT = Load(requests=6, threads=1, processes=1, warm_up=1)


def difference_graph(table: np.ndarray) -> onnx.ModelProto:
    """logits = mean over the first text's tokens − mean over the second's."""
    nodes, given = [], []
    for side, (ids, mask) in enumerate(
        (("input_ids", "attention_mask"), ("other_ids", "other_mask"))
    ):
        length = ("sequence", "other_sequence")[side]
        given += [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", length])
            for name in (ids, mask)
        ]
        nodes += [
            helper.make_node("Gather", ["table", ids], [f"rows{side}"]),
            helper.make_node("Cast", [mask], [f"mask{side}"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", [f"mask{side}", "last"], [f"wide{side}"]),
            helper.make_node("Mul", [f"rows{side}", f"wide{side}"], [f"kept{side}"]),
            helper.make_node("ReduceSum", [f"kept{side}", "middle"], [f"sum{side}"], keepdims=0),
            helper.make_node("ReduceSum", [f"wide{side}", "middle"], [f"count{side}"], keepdims=0),
            helper.make_node("Max", [f"count{side}", "one"], [f"least{side}"]),
            helper.make_node("Div", [f"sum{side}", f"least{side}"], [f"mean{side}"]),
        ]
    nodes.append(helper.make_node("Sub", ["mean0", "mean1"], ["logits"]))
    constants = {
        "table": table,
        "last": np.array([2]),
        "middle": np.array([1]),
        "one": np.array([1.0], np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "pair",
        given,
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(LABELS)])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """Takes the place of the bundle of one text."""
    return made(tmp_path / "parts")


def made(place: Path) -> Bundle:
    """What stands first weighs for, what stands second against."""
    place.mkdir()
    parts = write_parts(place, 4.0)
    table = numpy_helper.to_array(onnx.load(parts["model.onnx"]).graph.initializer[0])
    onnx.save(difference_graph(table), parts["model.onnx"])
    manifest = manifest_of().model_copy(update={"task": "text_pair", "inputs": INPUTS})
    found = write_bundle(place.parent / "bundle", manifest, parts, "name: tickets\n")
    return record_verdicts(found, [], released=True)


@pytest.fixture
def loaded(bundle: Bundle) -> Runtime:
    return load(bundle.folder, threads=1)


PAIR = {"text": "money back", "text_pair": "tax"}


def test_the_order_of_the_two_texts_is_kept(loaded: Runtime):
    (found, turned) = loaded.predict([PAIR, {"text_pair": "money back", "text": "tax"}])
    assert (found["label"], turned["label"]) == ("refund", "invoice")
    assert found["probabilities"]["invoice"] < found["probabilities"]["other"]


def test_tuples_and_mappings_are_the_same_row(loaded: Runtime):
    assert loaded.predict([("money back", "tax")]) == loaded.predict([PAIR])
    assert loaded.predict([["money back", "tax"]]) == loaded.predict([PAIR])


def test_rows_of_many_lengths_are_answered_as_alone_with_a_cache_and_without(bundle: Bundle):
    draw = np.random.default_rng(0)
    words = ["money", "tax", "hello", "weather"]
    rows = [
        tuple(" ".join(draw.choice(words, draw.integers(1, 30))) for _ in range(2))
        for _ in range(60)
    ]
    answers_alike(bundle, rows)


def test_a_cache_does_not_take_one_pair_for_another_of_the_same_words(bundle: Bundle):
    cached = load(bundle.folder, threads=1, cache_mb=4)
    one, other = ("money back", "tax"), ("money", "back tax")
    assert cached.predict([one, other]) == load(bundle.folder, threads=1).predict([one, other])
    assert cached.cache is not None
    assert cached.cache.misses == 2


@pytest.mark.parametrize(
    ("row", "word"),
    [
        ("one text", "2 texts or a mapping"),
        ({"text": "a"}, "lacks the key 'text_pair'"),
        ({**PAIR, "other": "x"}, "has the key 'other'"),
        ({"text": "a", "text_pair": 3}, "key 'text_pair' is int"),
        (("a",), "holds 1 texts"),
        (("a", None), "key 'text_pair' is NoneType"),
        (("a", "\ud800"), "surrogate"),
        (7, "Row 0 is int"),
    ],
)
def test_a_row_that_is_no_pair_is_refused_by_name(loaded: Runtime, row, word):
    with pytest.raises(RequestError, match=word) as caught:
        loaded.predict([row])
    assert caught.value.status == 422


def test_two_texts_are_answered_over_http_and_one_is_refused(running: Running):
    reply = running.client.post("/v1/predict", json={"inputs": [PAIR]})
    assert reply.json()["outputs"][0]["label"] == "refund"
    lacking = running.client.post("/v1/predict", json={"inputs": [{"text": "money"}]})
    assert lacking.status_code == 422
    assert "text_pair" in lacking.json()["error"]["what"]
    assert running.client.get("/v1/model").json()["inputs"] == ["text", "text_pair"]


def test_each_of_the_two_texts_has_the_cap_of_one(serving: Serving):
    with serving(max_text_chars=50) as running:
        near = {"text": "m" * 50, "text_pair": "t" * 50}
        assert running.client.post("/v1/predict", json={"inputs": [near]}).status_code == 200
        over = {**near, "text_pair": "t" * 51}
        assert running.client.post("/v1/predict", json={"inputs": [over]}).status_code == 413


def test_kept_pairs_and_pairs_sent_along_are_what_is_learnt_from(serving: Serving):
    with serving(store_texts=True) as running:
        one = running.client.post("/v1/predict", json={"inputs": [PAIR]}).json()
        other = running.client.post("/v1/predict", json={"inputs": [PAIR]}).json()
        said = {"request_id": one["request_id"], "label": "other"}
        assert running.client.post("/v1/feedback", json=said).status_code == 201
        along = {"text": "hello", "text_pair": "bill"}
        sent = {"request_id": other["request_id"], "label": "refund", "inputs": along}
        assert running.client.post("/v1/feedback", json=sent).status_code == 201
        wrong = running.client.post("/v1/feedback", json=said | {"text": "hello"})
        assert (wrong.status_code, "under 'inputs'" in wrong.text) == (422, True)
        store = running.store
    with Store.open(store) as opened:
        found = {(c["text"], c["label"]) for c in corrections(opened)}
    assert found == {
        (written(("money back", "tax")), "other"),
        (written(("hello", "bill")), "refund"),
    }


def test_a_model_of_one_text_takes_no_inputs_as_feedback(tmp_path: Path, serving: Serving):
    # The fixture above is of two texts: this one is made by hand.
    place = tmp_path / "one"
    place.mkdir()
    made = write_bundle(tmp_path / "single", manifest_of(), write_parts(place, 4.0), "name: t\n")
    record_verdicts(made, [], released=True)
    with serving(bundle=str(made.folder)) as running:
        answer = running.predict("money")
        said = {"request_id": answer["request_id"], "label": "other", "inputs": {"text": "money"}}
        reply = running.client.post("/v1/feedback", json=said)
        assert (reply.status_code, "under 'text'" in reply.text) == (422, True)


TENSORS = [
    {"name": "text_pair", "shape": [2], "datatype": "BYTES", "data": ["tax", "money back"]},
    {"name": "text", "shape": [2], "datatype": "BYTES", "data": ["money back", "tax"]},
]
INFER = "/v2/models/tickets/infer"


def test_the_protocol_takes_a_tensor_for_each_text_in_any_order(running: Running):
    found = running.client.post(INFER, json={"inputs": TENSORS}).json()
    assert found["outputs"][0]["data"] == ["refund", "invoice"]
    model = running.client.get("/v2/models/tickets").json()
    assert [tensor["name"] for tensor in model["inputs"]] == ["text", "text_pair"]


@pytest.mark.parametrize(
    ("tensors", "word"),
    [
        (TENSORS[:1], "'text' is missing"),
        ([TENSORS[0], TENSORS[0]], "sent twice"),
        ([TENSORS[0], TENSORS[1] | {"name": "texts"}], "no input 'texts'"),
        ([TENSORS[0], TENSORS[1] | {"shape": [1], "data": ["money"]}], "numbers of rows differ"),
    ],
)
def test_the_protocol_refuses_tensors_that_are_no_pairs(running: Running, tensors, word):
    reply = running.client.post(INFER, json={"inputs": tensors})
    assert reply.status_code == 400
    assert word in reply.json()["error"]


def test_the_document_says_that_a_row_is_two_texts(running: Running):
    schemas = running.client.get("/openapi.json").json()["components"]["schemas"]
    row = schemas["PredictBody"]["properties"]["inputs"]
    assert row["items"]["required"] == ["text", "text_pair"]
    assert row["examples"][0][0].keys() == set(INPUTS)
    said = schemas["FeedbackBody"]["properties"]
    assert "text" not in said
    assert said["inputs"]["required"] == ["text", "text_pair"]
    assert schemas["InferenceRequest"]["properties"]["inputs"]["minItems"] == 2


def test_a_bundle_of_pairs_is_timed_and_measured_in_fresh_processes(bundle: Bundle):
    texts = [("money back", "tax"), ("hello", "weather")]
    assert time_it(bundle.folder, texts, SHORT).shape == (1, 6)
    assert use_it(bundle.folder, texts, SHORT).cpu > 0


@pytest.fixture
def running(serving: Serving) -> Iterator[Running]:
    with serving() as started:
        yield started


def test_a_stored_pair_is_one_cell_of_json(serving: Serving):
    with serving(store_texts=True) as running:
        running.client.post("/v1/predict", json={"inputs": [PAIR]})
        store = running.store
    with closing(sqlite3.connect(store)) as database:
        ((text,),) = database.execute("select text from predictions").fetchall()
    assert json.loads(text) == ["money back", "tax"]


@pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine")
def test_the_page_has_a_box_for_each_text(browser: Browser, serving: Serving):
    with serving() as running:
        browser.call("Page.navigate", url=f"{running.url}/?lang=zh")
        browser.until("document.readyState == 'complete' && document.title == 'tickets'")
        assert browser.run("document.querySelectorAll('#ask textarea').length") == 2
        assert browser.run("document.querySelector('#others label').textContent") == (
            "与之比较的另一段文本"
        )
        browser.run("document.getElementById('text').value = 'money back'")
        browser.run("document.getElementById('text-text_pair').value = 'tax'")
        browser.run("document.getElementById('send').click()")
        browser.until(f"({shown('answer')} || {{}}).innerText?.includes('refund')")
        browser.run("document.getElementById('keep').click()")
        browser.run("document.getElementById('right').click()")
        browser.until(shown("thanks") + " && true")
        store = running.store
    with Store.open(store) as opened:
        (found,) = corrections(opened)
    assert (found["text"], found["label"]) == (written(("money back", "tax")), "refund")

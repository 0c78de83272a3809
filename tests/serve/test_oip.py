"""The Open Inference Protocol v2: the same answers as our own API, in the protocol's form."""

import shutil
from typing import Any

import pytest

from tests.serve.conftest import LABELS, Running, Serving
from tests.serve.test_http import predictions, rows

TENSOR = {"name": "text", "shape": [2], "datatype": "BYTES", "data": ["money back", "tax"]}
INFER = "/v2/models/tickets/infer"


def infer(running: Running, path: str = INFER, **body: Any) -> dict[str, Any]:
    reply = running.client.post(path, json={"inputs": [TENSOR]} | body)
    assert reply.status_code == 200, reply.text
    return reply.json()


def test_the_answers_are_those_of_our_own_api_and_the_id_comes_back(running: Running):
    ours = running.predict("money back", "tax")
    found = infer(running, id="42")
    assert (found["id"], found["model_name"]) == ("42", "tickets")
    assert found["model_version"] == ours["model"]
    label, probabilities = found["outputs"]
    assert label == {"name": "label", "shape": [2], "datatype": "BYTES", "data": label["data"]}
    assert label["data"] == [output["label"] for output in ours["outputs"]]
    assert (probabilities["shape"], probabilities["datatype"]) == ([2, 3], "FP32")
    assert probabilities["data"] == [
        output["probabilities"][name] for output in ours["outputs"] for name in LABELS
    ]


def test_only_the_outputs_that_are_asked_for_come_in_their_order(running: Running):
    asked = [{"name": "probabilities", "parameters": {"binary_data": False}}, {"name": "label"}]
    assert [o["name"] for o in infer(running, outputs=asked)["outputs"]] == [
        "probabilities",
        "label",
    ]
    assert [o["name"] for o in infer(running, outputs=asked[:1])["outputs"]] == ["probabilities"]
    assert len(infer(running, outputs=[])["outputs"]) == 2


@pytest.mark.parametrize("data", [["money", "tax"], [["money"], ["tax"]]])
def test_a_column_of_texts_is_taken_flat_or_nested(running: Running, data: list[Any]):
    found = infer(running, inputs=[TENSOR | {"shape": [2, 1], "data": data}])
    assert found["outputs"][0]["data"] == ["refund", "invoice"]


def test_feedback_goes_to_the_id_that_the_answer_names(running: Running):
    parameters = {"user": "u-1", "segment": "cn"}
    for given in ({"id": "mine"}, {}):
        found = infer(running, parameters=parameters, **given)
        request_id = found["parameters"]["request_id"]
        assert found["id"] == given.get("id", request_id)
        said = {"request_id": request_id, "row": 1, "label": "other"}
        assert running.client.post("/v1/feedback", json=said).status_code == 201
    kept = rows(running.store, predictions)
    assert {(row["user"], row["segment"]) for row in kept} == {("u-1", "cn")}


def test_an_abstention_is_an_empty_label(bundle, make_bundle, serving: Serving):
    shutil.rmtree(bundle.folder)
    make_bundle(abstain_below=0.999)
    with serving() as running:
        assert infer(running)["outputs"][0]["data"] == ["", ""]


def test_a_version_is_the_bundles_id(running: Running):
    version = running.client.get("/v1/model").json()["model"]
    base = f"/v2/models/tickets/versions/{version}"
    assert infer(running, f"{base}/infer")["model_version"] == version
    assert running.client.get(f"{base}/ready").json() == {"name": "tickets", "ready": True}
    model = running.client.get(base).json()
    assert model == running.client.get("/v2/models/tickets").json()
    assert model["versions"] == [version]
    assert model["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
    assert model["outputs"][1] == {"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]}
    assert model["labels"] == list(LABELS)


def test_server_health_and_metadata(running: Running):
    assert running.client.get("/v2").json()["name"] == "sartor"
    assert running.client.get("/v2/health/live").json() == {"live": True}
    assert running.client.get("/v2/health/ready").json() == {"live": True, "ready": True}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/models/other"),
        ("GET", "/v2/models/other/ready"),
        ("POST", "/v2/models/other/infer"),
        ("GET", "/v2/models/tickets/versions/7"),
        ("GET", "/v2/models/tickets/versions/7/ready"),
        ("POST", "/v2/models/tickets/versions/7/infer"),
        ("GET", "/v2/nothing"),
    ],
)
def test_an_unknown_model_or_version_is_404_in_the_protocols_form(running, method, path):
    reply = running.client.request(method, path, content=b"{")
    assert reply.status_code == 404
    (said,) = reply.json().values()
    assert isinstance(said, str)
    assert any(name in said for name in ("'other'", "'7'", "/v2/nothing"))


WRONG = {
    "an unknown input": ({"inputs": [TENSOR | {"name": "txt"}]}, 400, "no input 'txt'"),
    "a wrong datatype": ({"inputs": [TENSOR | {"datatype": "FP32"}]}, 400, "datatype 'FP32'"),
    "numbers": ({"inputs": [TENSOR | {"data": [1, 2]}]}, 400, "inputs.0.data"),
    "too few texts": ({"inputs": [TENSOR | {"shape": [3]}]}, 400, "shape [3] and 2 texts"),
    "two columns": ({"inputs": [TENSOR | {"shape": [1, 2]}]}, 400, "one text a row"),
    "no rows": ({"inputs": [TENSOR | {"shape": [0], "data": []}]}, 400, "inputs.0.shape.0"),
    "no data": ({"inputs": [TENSOR | {"data": []}]}, 400, "inputs.0.data"),
    "an empty row": ({"inputs": [TENSOR | {"data": [["a"], []]}]}, 400, "inputs.0.data"),
    "a negative size": ({"inputs": [TENSOR | {"shape": [-1]}]}, 400, "inputs.0.shape.0"),
    "a huge size": ({"inputs": [TENSOR | {"shape": [2**62]}]}, 400, "and 2 texts"),
    "three dimensions": ({"inputs": [TENSOR | {"shape": [2, 1, 1]}]}, 400, "inputs.0.shape"),
    "nested too deep": ({"inputs": [TENSOR | {"data": [[["a"]], [["b"]]]}]}, 400, "inputs.0.data"),
    "nested by the wrong shape": (
        {"inputs": [TENSOR | {"data": [["money"], ["tax"]]}]},
        400,
        "Row 0 of the data",
    ),
    "an unknown output": ({"outputs": [{"name": "logits"}]}, 400, "no output 'logits'"),
    "an output twice": ({"outputs": [{"name": "label"}] * 2}, 400, "twice"),
    "two inputs": ({"inputs": [TENSOR, TENSOR]}, 400, "inputs: "),
    "no input": ({"inputs": []}, 400, "inputs: "),
    "an unknown key": ({"input": []}, 400, "input: Extra"),
    "an unknown parameter": ({"parameters": {"priority": 1}}, 400, "parameters.priority"),
    "binary outputs": ({"parameters": {"binary_data_output": True}}, 400, "binary_data_output"),
    "a number for a boolean": (
        {"outputs": [{"name": "label", "parameters": {"binary_data": 0}}]},
        400,
        "outputs.0.parameters.binary_data",
    ),
    "an id of a wrong type": ({"id": 7}, 400, "id: "),
    "too many rows": (
        {"inputs": [TENSOR | {"shape": [257], "data": ["a"] * 257}]},
        413,
        "257 rows in one request",
    ),
    "too long a text": (
        {"inputs": [TENSOR | {"shape": [1], "data": ["a" * 20_001]}]},
        413,
        "20,001 characters",
    ),
    "too long a body": ({"id": "a" * 1_000_000}, 413, "1,000,000 bytes"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_request_that_cannot_be_used_names_what_is_wrong(running: Running, name: str):
    body, status, said = WRONG[name]
    reply = running.client.post(INFER, json={"inputs": [TENSOR]} | body)
    assert reply.status_code == status, reply.text
    assert list(reply.json()) == ["error"]
    assert said in reply.json()["error"]
    assert "Fix: " in reply.json()["error"]


def test_without_a_key_the_refusal_has_the_protocols_form(serving: Serving):
    with serving(key="0123456789abcdef") as running:
        reply = running.client.get("/v2/models/tickets")
        assert reply.status_code == 401
        assert reply.json()["error"].startswith("This needs an API key.")
        assert running.client.get("/v2/health/ready").status_code == 200

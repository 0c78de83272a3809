"""The HTTP interface: answers, feedback, and every body that cannot be used."""

import json
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from sartor.core.store import Store
from sartor.core.tables import feedback, predictions
from sartor.serve.app import create_app
from sartor.serve.settings import ServeSettings
from tests.serve.conftest import Running, Serving


def rows(path: Path, table: sa.Table) -> list[dict]:
    with Store.open(path) as store, store.read() as connection:
        return [dict(row) for row in connection.execute(sa.select(table)).mappings()]


def test_texts_are_answered_in_order(running: Running):
    reply = running.predict("money back", "tax", "hello weather")
    assert [output["label"] for output in reply["outputs"]] == ["refund", "invoice", "other"]
    assert set(reply["outputs"][0]) == {"label", "best", "probabilities"}
    assert len(reply["model"]) == 64
    assert len(reply["request_id"]) == 32


def test_answers_over_http_are_those_in_process(running: Running, bundle):
    import sartor

    texts = ["money back", "tax hello", ""]
    assert running.predict(*texts)["outputs"] == sartor.load(bundle.folder).predict(texts)


def test_feedback_is_kept_with_everything_that_was_said(running: Running):
    asked = running.predict("money back", "tax", user="u-1", segment="cn")
    said = {"request_id": asked["request_id"], "row": 1, "label": "other", "comment": "不对"}
    reply = running.client.post("/v1/feedback", json=said | {"user": "u-2", "text": "tax"})
    assert reply.status_code == 201
    assert reply.json() == {"id": 1, "request_id": asked["request_id"], "row": 1}
    (kept,) = rows(running.store, feedback)
    assert kept.items() >= (said | {"user": "u-2", "segment": None, "text": "tax"}).items()
    first, second = rows(running.store, predictions)
    assert (first["label"], first["user"], first["segment"]) == ("refund", "u-1", "cn")
    assert first["bundle"] == asked["model"]
    assert second["answer"] == asked["outputs"][1]
    assert 0 < second["confidence"] < 1


def test_texts_are_kept_only_when_the_server_was_told_to(serving: Serving):
    with serving() as running:
        running.predict("money secret")
    assert [row["text"] for row in rows(running.store, predictions)] == [None]
    for file in running.store.parent.glob("store.db*"):
        assert b"secret" not in file.read_bytes()
    with serving(store_texts=True) as running:
        running.predict("money secret\x00")
    assert rows(running.store, predictions)[-1]["text"] == "money secret\ufffd"


@pytest.mark.parametrize(
    ("said", "status", "what", "fix"),
    [
        ({"request_id": "nope"}, 404, "No recorded answer has the request id 'nope'", "came with"),
        ({"row": 5}, 404, "has no row 5; it had 1", "row from 0 to 0"),
        ({"label": "refnd"}, 422, "no label 'refnd'", "did you mean 'refund'?"),
        ({"label": ""}, 422, "label: String should have at least 1", "openapi"),
        ({"row": -1}, 422, "row: Input should be greater", "openapi"),
        ({"row": "0"}, 422, "row: Input should be a valid integer", "openapi"),
        ({"comment": "x" * 4_001}, 422, "comment: String should have at most 4000", "openapi"),
        ({"labl": "x"}, 422, "labl: Extra inputs are not permitted", "request_id, row, label"),
    ],
)
def test_feedback_that_cannot_be_used_says_why(
    running: Running, said: dict, status: int, what: str, fix: str
):
    asked = running.predict("money")
    body = {"request_id": asked["request_id"], "label": "other"} | said
    reply = running.client.post("/v1/feedback", json=body)
    assert reply.status_code == status
    error = reply.json()["error"]
    assert what in error["what"]
    assert fix in error["fix"]
    assert rows(running.store, feedback) == []


def test_a_whole_number_may_be_written_with_a_point(running: Running):
    asked = running.predict("money", "tax")
    said = {"request_id": asked["request_id"], "row": 1.0, "label": "other"}
    assert running.client.post("/v1/feedback", json=said).json()["row"] == 1
    assert running.client.post("/v1/feedback", json=said | {"row": 0.5}).status_code == 422


def test_a_new_label_is_taken_when_it_is_meant(running: Running):
    asked = running.predict("money")
    said = {"request_id": asked["request_id"], "label": "complaint", "new_label": True}
    assert running.client.post("/v1/feedback", json=said).status_code == 201
    assert rows(running.store, feedback)[0]["label"] == "complaint"


def test_a_server_without_a_store_answers_and_refuses_feedback(serving: Serving):
    with serving(store=None) as running:
        asked = running.predict("money")
        said = {"request_id": asked["request_id"], "label": "refund"}
        reply = running.client.post("/v1/feedback", json=said)
        assert reply.status_code == 503
        assert reply.json()["error"]["fix"] == "start it with a store."
        assert running.client.get("/v1/model").json()["feedback"] is False


BAD_BODIES = {
    "nothing": (b"", 400),
    "not JSON": (b"inputs=hello", 400),
    "cut short": (b'{"inputs": [{"text": "a"', 400),
    "not UTF-8": (b'{"inputs": [{"text": "\xff\xfe"}]}', 400),
    "half a surrogate pair": (rb'{"inputs": [{"text": "\ud800"}]}', 400),
    "deep": (b'{"inputs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
    "deep mappings": (b'{"inputs": ' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"}", 400),
    "a list": (b"[]", 422),
    "null": (b"null", 422),
    "a number": (b"1e999", 422),
    "no inputs": (b"{}", 422),
    "empty inputs": (b'{"inputs": []}', 422),
    "inputs of a wrong type": (b'{"inputs": "text"}', 422),
    "a row of a wrong type": (b'{"inputs": ["text"]}', 422),
    "a text of a wrong type": (b'{"inputs": [{"text": 3}]}', 422),
    "a null text": (b'{"inputs": [{"text": null}]}', 422),
    "a nested text": (b'{"inputs": [{"text": {"text": "a"}}]}', 422),
    "NaN": (b'{"inputs": [{"text": NaN}]}', 422),
    "a wrong key": (b'{"inputs": [{"txt": "a"}]}', 422),
    "one key too many": (b'{"inputs": [{"text": "a", "label": "b"}]}', 422),
    "an unknown option": (b'{"inputs": [{"text": "a"}], "temperature": 2}', 422),
    "a user of a wrong type": (b'{"inputs": [{"text": "a"}], "user": 7}', 422),
    "too many rows": (json.dumps({"inputs": [{"text": "a"}] * 257}).encode(), 413),
    "too long a text": (json.dumps({"inputs": [{"text": "a" * 20_001}]}).encode(), 413),
    "too long a body": (b'{"inputs": [{"text": "' + b"a" * 1_000_000 + b'"}]}', 413),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_body_that_cannot_be_used_is_refused_with_its_fix(running: Running, name: str):
    body, status = BAD_BODIES[name]
    for path in ("/v1/predict", "/v1/feedback"):
        reply = running.client.post(path, content=body)
        wanted = {status} if path == "/v1/predict" else {400, 413, 422}
        assert reply.status_code in wanted, reply.text
        error = reply.json()["error"]
        assert error["what"]
        assert error["fix"]
        assert "Traceback" not in reply.text
        assert len(reply.text) < 2_000
    assert running.predict("money")["outputs"][0]["label"] == "refund"


def test_a_body_without_an_announced_length_is_bounded_too(running: Running):
    def endless():
        for _ in range(64):
            yield b"a" * 100_000

    # The server may hang up before it was all sent, which is as good.
    with suppress(httpx.WriteError, httpx.RemoteProtocolError):
        assert running.client.post("/v1/predict", content=endless()).status_code == 413
    assert running.predict("money")["outputs"]


def test_a_client_that_goes_away_in_the_middle_leaves_the_server_well(running: Running):
    host, port = running.url.removeprefix("http://").split(":")
    for sent in (
        b"POST /v1/predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99\r\n\r\n{",
        b"\0",
    ):
        with socket.create_connection((host, int(port))) as raw:
            raw.sendall(sent)
    assert running.predict("money")["outputs"]


def test_nul_and_unusual_characters_in_a_text_are_answered(running: Running):
    reply = running.predict("\x00money\u202e", "退款 \U0001f600", "  ")
    assert len(reply["outputs"]) == 3


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("GET", "/v1/predict", 405), ("DELETE", "/v1/feedback", 405)],
)
def test_a_wrong_address_names_the_right_ones(running, method: str, path: str, status: int):
    reply = running.client.request(method, path)
    assert reply.status_code == status
    assert "/v1/" in reply.json()["error"]["fix"]


def test_health_readiness_and_the_model_are_told(running: Running):
    assert running.client.get("/healthz").json() == {"status": "ok"}
    assert running.client.get("/readyz").json() == {"status": "ready"}
    model = running.client.get("/v1/model").json()
    assert model["labels"] == ["refund", "invoice", "other"]
    assert (model["inputs"], model["released"], model["feedback"]) == (["text"], True, True)


def test_metrics_count_replies_and_never_take_names_from_clients(running: Running):
    running.predict("money", "tax")
    running.client.get("/made-up-by-a-client")
    text = running.client.get("/metrics").text
    assert 'sartor_requests_total{route="/v1/predict",status="200"} 1.0' in text
    assert 'sartor_requests_total{route="other",status="404"} 1.0' in text
    assert "sartor_rows_total 2.0" in text
    assert "sartor_unrecorded_requests 0.0" in text
    assert "made-up" not in text


PAGE = {"/", "/static/page.css", "/static/page.js", "/static/conversation.js", "/static/learner.js"}
UNDOCUMENTED = {*PAGE, "/metrics", "/openapi.json"}
"""Not JSON, or the document itself."""


def test_the_openapi_document_has_the_routes_that_are_served(running: Running, bundle):
    document = running.client.get("/openapi.json").json()
    served = create_app(ServeSettings(bundle=str(bundle.folder))).desk.routes.rights
    assert set(document["paths"]) == set(served) - UNDOCUMENTED
    for path, methods in document["paths"].items():
        assert {method.upper() for method in methods} == set(served[path])
        url = path.format(name=bundle.manifest.name, version=bundle.manifest.id)
        for method, operation in methods.items():
            reply = running.client.request(method, url)
            assert reply.status_code not in (404, 405), (method, path)
            declared = set(operation["responses"])
            assert str(reply.status_code) in declared, (method, path, reply.status_code)
    schemas = document["components"]["schemas"]
    assert schemas["PredictBody"]["additionalProperties"] is False
    assert set(schemas["FeedbackBody"]["required"]) == {"request_id", "label"}


def test_old_texts_are_deleted_and_new_ones_stay(running: Running, serving: Serving):
    asked = running.predict("money")
    said = {"request_id": asked["request_id"], "label": "other", "text": "an old text"}
    said["comment"] = "an old text of mine"
    running.client.post("/v1/feedback", json=said)
    with Store.open(running.store) as store, store.write() as connection:
        connection.execute(sa.text("UPDATE predictions SET text = 'older still'"))
        for table in ("predictions", "feedback"):
            connection.execute(sa.text(f"UPDATE {table} SET time = '2020-01-01 00:00:00'"))
    with serving(store_texts=True, retention_days=30) as again:
        again.predict("tax")
    found = rows(running.store, predictions)
    assert [row["text"] for row in found] == [None, "tax"]
    assert found[0]["label"] == "refund"
    (kept,) = rows(running.store, feedback)
    assert (kept["text"], kept["comment"], kept["label"]) == (None, None, "other")
    for file in running.store.parent.glob("store.db*"):
        assert b"an old text" not in file.read_bytes()


START = """
import sys
for name in ("torch", "transformers", "alembic", "fastapi", "jinja2", "scipy", "sklearn", "polars"):
    sys.modules[name] = None
from sartor.serve.run import prepare
from sartor.serve.settings import ServeSettings
prepare(ServeSettings(bundle=sys.argv[1], store=sys.argv[2], port=0))[1].close()
print("ready")
"""


def test_a_server_starts_without_what_only_others_need(bundle, tmp_path: Path):
    ran = subprocess.run(
        [sys.executable, "-c", START, str(bundle.folder), str(tmp_path / "store.db")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.stdout.strip() == "ready", ran.stderr

"""Overload is refused at once wherever it gathers, counted by what was full, and health answers."""

import asyncio
import json
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sartor.core.errors import WorkspaceError
from sartor.core.store import Store
from sartor.serve import stored_keys
from sartor.serve.batcher import Batcher
from sartor.serve.records import Keeping, Recorder, Said, Served
from sartor.serve.room import Budget, Busy, Room
from sartor.tasks.text_classification.spec import TextClassification
from tests.serve.conftest import Running, Serving
from tests.serve.test_auth import bearer
from tests.serve.test_oip import INFER, TENSOR

HEAD = b"POST /v1/predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: 900000\r\n\r\n"
ANSWER = {"label": "refund", "best": "refund", "probabilities": {"refund": 0.9, "other": 0.1}}
BRIEF = TextClassification().brief


def metric(running: Running, name: str) -> float:
    (line,) = (
        line for line in running.client.get("/metrics").text.splitlines() if line.startswith(name)
    )
    return float(line.rpartition(" ")[2])


@contextmanager
def halfway(running: Running, sent: bytes) -> Iterator[None]:
    """A client that has sent a part of its request and waits."""
    host, port = running.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as raw:
        raw.sendall(sent)
        yield


def refused(running: Running) -> str:
    """What the server says once what was sent before has arrived there."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        reply = running.client.post("/v1/predict", json={"inputs": [{"text": "money"}]})
        if reply.status_code == 503:
            assert int(reply.headers["retry-after"]) >= 1
            return reply.json()["error"]["what"]
    raise AssertionError("nothing was refused")


def test_requests_in_progress_are_bounded_and_health_still_answers(serving: Serving):
    with serving(max_requests=2) as running:
        with ExitStack() as open_:
            for _ in range(2):
                open_.enter_context(halfway(running, HEAD))
            assert "as many requests in progress" in refused(running)
            for path in ("/metrics", "/healthz", "/readyz", "/v2/health/ready"):
                assert running.client.get(path).status_code == 200
        deadline = time.monotonic() + 20
        while running.client.get("/v1/model").status_code == 503 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert running.predict("money")["outputs"][0]["label"] == "refund"
        assert metric(running, 'sartor_shed_requests_total{where="requests"}') >= 1


def test_the_bodies_of_all_requests_share_one_bound(serving: Serving):
    with serving(max_held_bytes=100_000) as running:
        with halfway(running, HEAD + b"x" * 100_000):
            assert "bodies of the requests" in refused(running)
            for path in ("/v2/health/ready", "/v1/model"):
                assert running.client.get(path).status_code == 200, "it has no body"
        deadline = time.monotonic() + 20
        body = {"inputs": [{"text": "money"}]}
        while running.client.post("/v1/predict", json=body).status_code == 503:
            assert time.monotonic() < deadline
        assert metric(running, 'sartor_shed_requests_total{where="bodies"}') >= 1


def test_a_body_that_comes_in_pieces_is_put_together(running: Running):
    body = json.dumps({"inputs": [{"text": "money 退款"}]}).encode()
    pieces = (body[at : at + 1] for at in range(len(body)))
    reply = running.client.post("/v1/predict", content=pieces)
    assert reply.json()["outputs"] == running.predict("money 退款")["outputs"]


def test_work_that_waits_is_bounded_over_the_protocol_too(serving: Serving):
    texts = ["money " * 3_000] * 50
    body = {"inputs": [TENSOR | {"shape": [50], "data": texts}]}
    with serving(max_wait_s=0.01) as running:
        running.predict("money")
        with ThreadPoolExecutor(12) as pool:
            asked = [pool.submit(running.client.post, INFER, json=body) for _ in range(24)]
            replies = [one.result() for one in asked]
        assert {reply.status_code for reply in replies} == {200, 503}
        for reply in replies:
            if reply.status_code == 503:
                assert int(reply.headers["retry-after"]) >= 1
                assert reply.json()["error"].startswith("The server is busy")
        shed = sum(reply.status_code == 503 for reply in replies)
        assert metric(running, 'sartor_shed_requests_total{where="model"}') == shed


def test_where_there_is_no_room_a_request_is_refused_before_its_body_comes(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
):
    with serving(key="k" * 20) as running:
        known = {"authorization": f"Bearer {'k' * 20}"}
        monkeypatch.setattr(Batcher, "full", property(lambda batcher: True))
        host, port = running.url.removeprefix("http://").split(":")
        for headers, status in (
            ("", b" 401 "),
            (f"authorization: {known['authorization']}\r\n", b" 503 "),
        ):
            with socket.create_connection((host, int(port)), timeout=20) as raw:
                raw.sendall(HEAD.replace(b"\r\n\r\n", b"\r\n" + headers.encode() + b"\r\n"))
                assert status in raw.recv(4_096)
        assert running.client.get("/v1/model", headers=known).status_code == 200
        reply = running.client.post(INFER, content=b"no JSON", headers=known)
        assert reply.status_code == 503
        assert int(reply.headers["retry-after"]) >= 1
        monkeypatch.undo()
        body = {"inputs": [{"text": "money"}]}
        assert running.client.post("/v1/predict", json=body, headers=known).status_code == 200


def test_what_a_request_held_comes_back_however_it_ends():
    room = Room(1, 10)

    def fail() -> None:
        with room.place() as held:
            held.more(10)
            with pytest.raises(Busy, match="bodies") as caught:
                held.more(1)
            assert caught.value.where == "bodies"
            with pytest.raises(Busy, match="in progress"), room.place():
                pass
            raise KeyError

    for _ in range(3):
        with pytest.raises(KeyError):
            fail()


def test_a_last_piece_may_pass_a_budget_so_that_nothing_is_too_large_for_ever():
    budget = Budget(10)
    assert budget.take(1_000)
    assert not budget.take(1)
    budget.give(1_000)
    assert budget.take(1)


def test_what_waits_for_the_disk_is_bounded_in_bytes_too(tmp_path: Path):
    served = Served("r", "b", datetime.now(UTC), ["x" * 50_000], [ANSWER], BRIEF)

    async def story(store: Store) -> None:
        recorder = Recorder(store, Keeping(texts=True, waiting_bytes=100_000))
        with store.write():  # The writer cannot begin while this is open.
            for _ in range(5):
                recorder.served(served)
            assert recorder.unrecorded >= 2
            with pytest.raises(Busy, match="faster than the disk") as caught:
                await recorder.said(Said("r", 0, "other"))
            assert caught.value.where == "store"
        await asyncio.to_thread(recorder.close)
        assert recorder._held.take(1), "what was written is still counted"

    with Store.open(tmp_path / "store.db") as store:
        asyncio.run(story(store))


def test_keys_that_were_read_hold_while_the_store_cannot_be_read_but_not_for_long(
    serving: Serving, tmp_path, monkeypatch
):
    monkeypatch.setattr(stored_keys, "_FRESH_S", 0.0)
    with Store.open(tmp_path / "store.db") as store:
        token = store.add_key("ci")
    with serving() as running:
        assert running.client.get("/v1/model", headers=bearer(token)).status_code == 200

        def fail(self: Store) -> None:
            raise WorkspaceError("the disk is gone.", fix="bring it back.")

        with monkeypatch.context() as broken:
            broken.setattr(Store, "keys", fail)
            assert running.client.get("/v1/model", headers=bearer(token)).status_code == 200
            assert running.client.get("/v1/model", headers=bearer("x")).status_code == 401
            broken.setattr(stored_keys, "_STALE_S", 0.0)
            reply = running.client.get("/v1/model", headers=bearer(token))
            assert reply.status_code == 503
            assert "cannot be checked" in reply.json()["error"]["what"]
        assert running.client.get("/v1/model", headers=bearer(token)).status_code == 200


def test_batches_queues_and_feedback_are_counted(running: Running):
    asked = running.predict("money", "tax", "hello")
    said = {"request_id": asked["request_id"], "label": "other"}
    assert running.client.post("/v1/feedback", json=said).status_code == 201
    assert running.client.post("/v1/feedback", json=said | {"row": 9}).status_code == 404
    assert metric(running, "sartor_feedback_total") == 1
    assert metric(running, "sartor_batch_rows_sum") == 3
    assert metric(running, 'sartor_batch_rows_bucket{le="2.0"}') == 0
    assert metric(running, "sartor_batch_seconds_sum") > 0
    assert metric(running, "sartor_queue_seconds_count") == 1
    assert metric(running, "sartor_log_lines_dropped_total") == 0


def test_labels_of_metrics_are_never_a_clients_words(running: Running):
    for made in range(30):
        for path in (f"/v2/models/m{made}", f"/x{made}", f"/v2/models/tickets/versions/v{made}"):
            running.client.request(f"M{made}", path)
            running.client.get(path)
    text = running.client.get("/metrics").text
    routes = set(re.findall(r'route="([^"]*)"', text))
    assert routes == {"other", "/v2/models/{name}", "/v2/models/{name}/versions/{version}"}
    assert len(text.splitlines()) < 250

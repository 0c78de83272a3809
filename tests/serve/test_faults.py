"""What is acknowledged survives: kill -9, a full disk, a stop in the middle, too much at once."""

import asyncio
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from sartor.bundle import Bundle
from sartor.core.errors import RequestError
from sartor.core.store import Store
from sartor.core.tables import feedback, predictions
from sartor.serve.records import Keeping, Recorder, Said, Served
from sartor.tasks.text_classification.spec import TextClassification
from tests.limited import no_longer_files
from tests.serve.conftest import Serving

ANSWER = {"label": "refund", "best": "refund", "probabilities": {"refund": 0.9, "other": 0.1}}
BRIEF = TextClassification().brief

SERVE = """
import sys
from sartor.serve.run import serve
from sartor.serve.settings import ServeSettings
serve(ServeSettings(bundle=sys.argv[1], store=sys.argv[2], port=int(sys.argv[3])))
"""


@contextmanager
def process(bundle: Path, store: Path) -> Iterator[tuple[subprocess.Popen[bytes], httpx.Client]]:
    """A server in a process of its own, and a client once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", SERVE, str(bundle), str(store), str(port)]
    with subprocess.Popen(command) as started:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
                wait_for(client)
                yield started, client
        finally:
            started.kill()


def wait_for(client: httpx.Client) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("the server did not become ready")


def served(request_id: str) -> Served:
    return Served(request_id, "bundle", datetime.now(UTC), ["a text"], [ANSWER], BRIEF)


def kept_ids(path: Path) -> set[int]:
    with Store.open(path) as store, store.read() as connection:
        return set(connection.scalars(sa.select(feedback.c.id)))


def speak(client: httpx.Client, said: dict, acknowledged: set[int]) -> None:
    """Send feedback until the server is gone."""
    while True:
        try:
            reply = client.post("/v1/feedback", json=said)
        except httpx.TransportError:
            return
        assert reply.status_code == 201
        acknowledged.add(reply.json()["id"])


def test_acknowledged_feedback_survives_kill_9(bundle: Bundle, tmp_path: Path):
    store = tmp_path / "store.db"
    acknowledged: set[int] = set()
    for round_number in range(3):
        with process(bundle.folder, store) as (started, client):
            asked = client.post("/v1/predict", json={"inputs": [{"text": "money"}]}).json()
            said = {"request_id": asked["request_id"], "label": "other"}
            killed = threading.Timer(0.3 + 0.2 * round_number, started.kill)
            killed.start()

            with ThreadPoolExecutor(4) as pool:
                speakers = [pool.submit(speak, client, said, acknowledged) for _ in range(4)]
            for speaker in speakers:
                speaker.result()
            killed.join()
            assert started.wait(10) == -signal.SIGKILL
        assert acknowledged <= kept_ids(store)
    assert len(acknowledged) > 3, "nothing was acknowledged; the test would be vacuous"


def test_a_stop_answers_and_writes_what_was_accepted(bundle: Bundle, tmp_path: Path):
    store = tmp_path / "store.db"
    body = {"inputs": [{"text": "money " * 30}] * 256}
    with process(bundle.folder, store) as (started, client):
        with ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(client.post, "/v1/predict", json=body) for _ in range(4)]
            while not any(one.done() for one in asked):
                time.sleep(0.001)
            started.send_signal(signal.SIGTERM)
            replies = []
            for one in asked:
                try:
                    replies.append(one.result())
                except httpx.TransportError:
                    continue  # It was never accepted.
        assert started.wait(30) == 0, "a graceful stop is not a failure"
    answered = [reply.json()["request_id"] for reply in replies if reply.status_code == 200]
    assert answered
    assert {reply.status_code for reply in replies} <= {200, 503}
    with Store.open(store) as opened, opened.read() as connection:
        kept = set(connection.scalars(sa.select(predictions.c.request_id)))
    assert set(answered) <= kept


def test_a_full_disk_refuses_feedback_with_507_and_answering_goes_on(serving: Serving):
    with limited_disk() as disk, serving() as running:
        asked = running.predict("money")
        said = {"request_id": asked["request_id"], "label": "other"}
        first = running.client.post("/v1/feedback", json=said)
        assert first.status_code == 201
        disk.full = True
        long = said | {"comment": "x" * 4_000}
        replies = [running.client.post("/v1/feedback", json=long) for _ in range(12)]
        assert replies[-1].status_code == 507
        assert "disk is full" in replies[-1].json()["error"]["what"]
        for _ in range(40):
            assert running.predict("money")["outputs"][0]["label"] == "refund"
        # One writer takes them in turn: once this is refused, those before it have been tried.
        assert running.client.post("/v1/feedback", json=long).status_code == 507
        metrics = running.client.get("/metrics").text
        assert "sartor_unrecorded_requests" in metrics
        assert "sartor_unrecorded_requests 0.0" not in metrics
        assert running.client.get("/readyz").status_code == 200
        disk.full = False
        again = running.client.post("/v1/feedback", json=said)
        assert again.status_code == 201
    good = {reply.json()["id"] for reply in (first, *replies, again) if reply.status_code == 201}
    assert good == kept_ids(running.store)


@dataclass
class Disk:
    full: bool = False


@contextmanager
def limited_disk() -> Iterator[Disk]:
    """SQLite's own page limit, set at every begin, raises the very error of a full disk."""
    disk = Disk()

    def limit(connection: sa.Connection) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar() if disk.full else 1 << 30
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

    sa.event.listen(sa.Engine, "begin", limit)
    try:
        yield disk
    finally:
        sa.event.remove(sa.Engine, "begin", limit)


def test_texts_that_cannot_be_deleted_for_want_of_room_end_no_writing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    path = tmp_path / "store.db"

    async def story(recorder: Recorder) -> list[int]:
        recorder.served(served("new"))
        async with asyncio.timeout(20):
            # The writer looks for old texts after it wrote the first.
            return [await recorder.said(Said("new", 0, "other")) for _ in range(2)]

    with Store.open(path) as store:
        # Those without texts are in the file; those with are in the log alone, beyond its end.
        for name, count, text in (("without", 3_000, None), ("with", 50, "an old text " * 20)):
            old = {"bundle": "b", "time": datetime(2020, 1, 1, tzinfo=UTC), "answer": {}}
            with store.write() as connection:
                rows = [old | {"request_id": name, "row": n, "text": text} for n in range(count)]
                connection.execute(sa.insert(predictions), rows)
            if text is None:
                store.scrub()
        with no_longer_files(path.stat().st_size):
            recorder = Recorder(store)
            try:
                numbers = asyncio.run(story(recorder))
            finally:
                recorder.close()
    assert numbers == [1, 2]
    assert "texts past their retention are still kept" in caplog.text


def test_overload_is_shed_with_a_time_to_return_and_then_recovers(serving: Serving):
    body = {"inputs": [{"text": "money " * 3_000}] * 50}
    with serving(max_wait_s=0.01) as running:
        running.predict("money")
        with ThreadPoolExecutor(12) as pool:
            asked = [pool.submit(running.client.post, "/v1/predict", json=body) for _ in range(24)]
            replies = [one.result() for one in asked]
        statuses = {reply.status_code for reply in replies}
        assert statuses == {200, 503}
        for reply in replies:
            if reply.status_code == 503:
                assert int(reply.headers["retry-after"]) >= 1
                assert "busy" in reply.json()["error"]["what"]
        assert running.predict("money")["outputs"][0]["label"] == "refund"


def test_one_commit_carries_many_acknowledgements(tmp_path: Path):
    commits = 0

    def count(connection: sa.Connection) -> None:
        nonlocal commits
        commits += 1

    async def story(recorder: Recorder) -> list[int]:
        recorder.served(served("r"))
        said = (Said("r", 0, "other", comment=str(i)) for i in range(500))
        return list(await asyncio.gather(*map(recorder.said, said)))

    with Store.open(tmp_path / "store.db") as store:
        recorder = Recorder(store)
        sa.event.listen(sa.Engine, "commit", count)
        try:
            numbers = asyncio.run(story(recorder))
            recorder.close()
        finally:
            sa.event.remove(sa.Engine, "commit", count)
        with store.read() as connection:
            query = sa.select(feedback.c.id, feedback.c.comment)
            kept = {number: comment for number, comment in connection.execute(query)}
    assert [kept[number] for number in numbers] == [str(i) for i in range(500)]
    assert commits < 50


def test_a_full_queue_refuses_feedback_and_counts_lost_predictions(tmp_path: Path):
    async def story(store: Store) -> None:
        recorder = Recorder(store, Keeping(waiting=1))
        with store.write():  # The writer cannot begin while this is open.
            while recorder.unrecorded < 3:
                recorder.served(served(f"r{recorder.unrecorded}"))
                await asyncio.sleep(0.05)
            with pytest.raises(RequestError, match="faster than the disk") as caught:
                await recorder.said(Said("r", 0, "other"))
        assert caught.value.status == 503
        await asyncio.to_thread(recorder.close)

    with Store.open(tmp_path / "store.db") as store:
        asyncio.run(story(store))


def test_feedback_in_one_group_is_judged_one_by_one(tmp_path: Path):
    async def story(recorder: Recorder) -> list[object]:
        recorder.served(served("r"))
        said = (Said("r", 0, "a"), Said("x", 0, "b"), Said("r", 1, "c"), Said("r", 0, "d"))
        return await asyncio.gather(*map(recorder.said, said), return_exceptions=True)

    with Store.open(tmp_path / "store.db") as store:
        recorder = Recorder(store)
        first, unknown, no_row, last = asyncio.run(story(recorder))
        recorder.close()
        with store.read() as connection:
            kept = dict(connection.execute(sa.select(feedback.c.id, feedback.c.label)).all())
    assert kept == {first: "a", last: "d"}
    assert [error.status for error in (unknown, no_row)] == [404, 404]

"""The line that each request leaves: complete, one line whatever is sent, no text and no key."""

import io
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from sartor.core.errors import SettingError
from sartor.core.grants import Grant
from sartor.core.store import Store
from sartor.serve import logs
from sartor.serve.exchange import Exchange
from sartor.serve.graph import Graph
from sartor.serve.logs import RequestLog, taking
from sartor.serve.settings import ServeSettings
from tests.serve.conftest import Running, Serving
from tests.serve.test_faults import wait_for
from tests.serve.test_http import predictions, rows

KEY = "0123456789abcdef0123456789abcdef"
SECRET = "my card is 4111"


@contextmanager
def logged(serving: Serving, monkeypatch: pytest.MonkeyPatch, form: str, **settings: object):
    """A server, and what it wrote once it has stopped."""
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    with serving(log_format=form, **settings) as running:
        yield running, stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_says_who_asked_what_and_how_it_ended(serving: Serving, monkeypatch):
    with logged(serving, monkeypatch, "json") as (running, stream):
        asked = running.predict(SECRET, "tax")
        running.client.get("/readyz")
        running.client.post("/v1/predict", content=b"{", headers={"x-request-id": "mine-1"})
    first, second, third = lines(stream)
    assert (
        first.items()
        >= {
            "method": "POST",
            "route": "/v1/predict",
            "status": 200,
            "rows": 2,
            "model": asked["model"],
            "answer": asked["request_id"],
            "request_id": asked["request_id"],
            "level": "info",
        }.items()
    )
    assert first["ms"] > 0
    assert first["time"].endswith("Z")
    assert (second["route"], second["rows"], second["model"]) == ("/readyz", 0, None)
    assert (third["status"], third["request_id"]) == (400, "mine-1")


def test_a_line_names_the_key_by_its_number_and_its_tenant(
    serving: Serving, monkeypatch, tmp_path: Path
):
    with Store.open(tmp_path / "store.db") as store:
        token = store.add_key("shop", Grant("predict", "acme"))
    with logged(serving, monkeypatch, "json", key=KEY) as (running, stream):
        for given in (token, KEY, "wrong"):
            running.client.get("/v1/model", headers={"authorization": f"Bearer {given}"})
        running.client.get("/metrics", headers={"authorization": f"Bearer {token}"})
    found = lines(stream)
    assert [(one["key"], one["tenant"]) for one in found] == [
        (1, "acme"),
        ("environment", None),
        (None, None),
        (1, "acme"),
    ]
    assert [one["status"] for one in found] == [200, 200, 401, 403]
    assert token not in stream.getvalue()


SERVE = """
import sys
from sartor.cli import main
sys.argv = ["sartor", *sys.argv[1:]]
main()
"""


def test_the_command_logs_json_where_nobody_looks_on(bundle, tmp_path: Path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", SERVE, "serve", str(bundle.folder), "--port", str(port)]
    command += ["--workspace", str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as started:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
                wait_for(client)
                client.post("/v1/predict", json={"inputs": [{"text": SECRET}]})
            started.send_signal(signal.SIGTERM)
            _, said = started.communicate(timeout=30)
        finally:
            started.kill()
    found = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert found[-1]["route"] == "/v1/predict"
    assert found[-1]["status"] == 200
    assert SECRET not in said
    assert "HTTP/1.1" not in said, "the web server's own log is on"


@pytest.mark.parametrize("form", ["json", "text"])
def test_nothing_that_is_sent_forges_a_line_or_lands_in_one(
    serving: Serving, monkeypatch, form: str
):
    forged = '\n{"status": 200}\r\n\x1b[2J\u2028'
    tries = [
        ("POST", "/v1/predict", {"inputs": [{"text": SECRET + forged}], "user": forged}),
        ("POST", "/v1/predict", {"inputs": [{SECRET: forged}]}),
        ("POST", "/v1/feedback", {"request_id": forged[:60], "label": SECRET}),
        ("GET", f"/{SECRET}%0A%7B%22status%22%7D", None),
        ("GET", f"/v2/models/{SECRET}%0D%0Ax", None),
        ("GET", f"/v1/model?{SECRET}%0A", None),
    ]
    with logged(serving, monkeypatch, form, key=KEY) as (running, stream):
        running.client.headers["authorization"] = f"Bearer {KEY}"
        for method, path, body in tries:
            running.client.request(method, path, json=body, headers={"user-agent": "forged-agent"})
        raw(running, b"GET / HTTP/1.1\r\nhost: localhost\r\nx-request-id: a\tforged\r\n\r\n")
        raw(running, b"F-O-R-G-E-D / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        raw(running, b"PROPFIND / HTTP/1.1\r\nhost: localhost\r\n\r\n")
    found = stream.getvalue()
    assert len(found.splitlines()) == len(tries) + 3
    for word in (SECRET, "forged", "\x1b", "F-O-R", KEY, "2J", "4111"):
        assert word not in found, word
    if form == "json":
        assert lines(stream)[3]["route"] == "other"
        assert lines(stream)[4]["route"] == "/v2/models/{name}"
        assert lines(stream)[-1]["method"] == "OTHER"
    else:
        assert "route=/v2/models/{name} status=404" in found


def raw(running: Running, request: bytes) -> bytes:
    host, port = running.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as made:
        made.sendall(request)
        return made.recv(4_096)


def test_the_id_comes_back_and_a_clients_own_is_kept_where_it_is_sane(running: Running):
    for given in ("trace.me_1-2", "a" * 128):
        reply = running.client.get("/readyz", headers={"x-request-id": given})
        assert reply.headers["x-request-id"] == given
    for given in ("", "a b", "a" * 129, "<script>", "é"):
        headers = [(b"x-request-id", given.encode())]
        made = running.client.get("/nothing", headers=headers).headers["x-request-id"]
        assert made != given
        assert len(made) == 32


def test_two_clients_that_send_the_same_id_share_no_answer(running: Running):
    body = {"inputs": [{"text": "money"}]}
    headers = {"x-request-id": "same"}
    replies = [running.client.post("/v1/predict", json=body, headers=headers) for _ in range(2)]
    ids = {reply.json()["request_id"] for reply in replies}
    assert len(ids) == 2
    assert "same" not in ids
    for one in ids:
        said = {"request_id": one, "label": "other"}
        assert running.client.post("/v1/feedback", json=said).status_code == 201
    assert {row["request_id"] for row in rows(running.store, predictions)} == ids


def test_a_fault_is_one_line_with_its_place_and_without_its_words(serving: Serving, monkeypatch):
    def fail(self: Graph, texts: list[str]) -> None:
        raise ValueError(f"cannot answer\n{texts}")

    with logged(serving, monkeypatch, "json") as (running, stream):
        monkeypatch.setattr(Graph, "logits", fail)
        reply = running.client.post("/v1/predict", json={"inputs": [{"text": SECRET}]})
        assert reply.status_code == 500
        assert SECRET not in reply.text
    fault, request = sorted(lines(stream), key=lambda line: "status" in line)
    assert fault["request_id"] == request["request_id"] == reply.headers["x-request-id"]
    assert (fault["level"], request["status"]) == ("error", 500)
    assert fault["traceback"][-1] == "builtins.ValueError"
    assert any(" fail" in frame for frame in fault["traceback"])
    assert SECRET not in stream.getvalue()


def test_a_reader_that_stalls_holds_up_nothing_and_lost_lines_are_counted(monkeypatch):
    monkeypatch.setattr(logs, "_WAITING", 5)
    monkeypatch.setattr(logs, "_STALL_S", 0.01)
    reading, writing = os.pipe()
    os.set_blocking(writing, True)
    with open(writing, "w") as stream, open(reading) as reader:
        log = RequestLog("json", stream)
        exchange = Exchange("a", True, "GET", "r" * 50_000, "public")
        for _ in range(50):
            log.replied(exchange, 0.1)
        assert log.dropped > 30
        log.close()
        assert log._thread.is_alive(), "nobody has read: the writer still waits"
        for _ in range(50 - log.dropped):
            assert json.loads(reader.readline())["status"] == 500
        log._thread.join(30)
        assert not log._thread.is_alive()


def test_a_stream_that_is_closed_ends_nothing():
    stream = io.StringIO()
    log = RequestLog("text", stream)
    stream.close()
    log.replied(Exchange("a", True, "GET", "/", "public"), 0.1)
    log.close()
    assert log.dropped == 1


def test_without_a_format_nothing_is_written_and_loggers_stay_as_they_were(capsys):
    log = RequestLog("none")
    before = {name: list(logging.getLogger(name).handlers) for name in logs._NAMES}
    with taking(log):
        log.replied(Exchange("a", True, "GET", "/", "public"), 0.1)
        assert {name: logging.getLogger(name).handlers for name in logs._NAMES} == before
    log.close()
    assert {name: logging.getLogger(name).handlers for name in logs._NAMES} == before
    assert capsys.readouterr() == ("", "")


def test_an_unknown_format_is_refused():
    with pytest.raises(SettingError, match=r"log_format must be json, text, none\. Got 'xml'"):
        ServeSettings(bundle="x", log_format="xml")  # type: ignore[arg-type]

"""The commands as a user types them, with a server in a process of its own that follows."""

import json
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from sartor.bundle import Bundle
from sartor.core.tables import now
from sartor.judge.intervals import clopper_pearson
from sartor.serve import reports
from sartor.serve.figures import Figures
from sartor.serve.reports import Report
from tests.serve.deployed import deployment, version
from tests.serve.test_faults import wait_for
from tests.stories.shop import Here, refused, start


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    return Here(monkeypatch, capsys, tmp_path)


@pytest.fixture
def three(tmp_path: Path) -> list[Bundle]:
    return [version(tmp_path, number) for number in range(3)]


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


@contextmanager
def following(folder: Path) -> Iterator[httpx.Client]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = start("serve", "--deployment", "tickets", "--port", port, cwd=folder)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            wait_for(client)
            yield client
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
        assert (process.returncode, "Traceback" in errors) == (0, False), errors
        assert "Change 4 of tickets" in errors
    finally:
        process.kill()
        process.wait()


def ask(client: httpx.Client, user: str) -> dict:
    body = {"inputs": [{"text": "money"}], "user": user}
    return client.post("/v1/predict", json=body).json()


def test_a_new_version_goes_from_canary_to_live_and_back(here: Here, tmp_path: Path, three):
    a, b, _ = (bundle.manifest.id for bundle in three)
    said = here("deploy", "version-0")
    assert said.status == 0, said.err
    assert said.out == (
        f"Change 1 of tickets: live {a[:12]}.\n"
        "No server follows it now: sartor serve --deployment tickets\n"
    )
    with following(tmp_path) as client:
        said = here("deploy", "version-1", "--canary", "30%")
        assert said.status == 0, said.err
        assert f"canary {b[:12]} for 30 % of the users" in said.out
        assert "1 of 1 running servers serve it." in said.out
        answers = [ask(client, f"u{number}") for number in range(40)]
        assert {answer["model"] for answer in answers} == {a, b}
        for answer in answers:
            right = {"request_id": answer["request_id"], "label": "refund"}
            assert client.post("/v1/feedback", json=right).status_code == 201
        assert here("promote").status == 0
        assert ask(client, "u0")["model"] == b
        (told,) = [json.loads(line) for line in here("rollback", "--json").out.splitlines()]
        assert told["servers"] == {"running": 1, "current": 1}
        assert (told["change"], told["action"]) == (4, "rollback")
        assert ask(client, "u0")["model"] == a
    said = here("deployments", "--json")
    found = json.loads(said.out)
    (live,) = found["models"]
    served = sum(answer["model"] == a for answer in answers)
    assert (live["role"], live["requests"], live["errors"]) == ("live", served + 1, 0)
    assert (live["feedback"]["agreed"], live["feedback"]["n"]) == (served, served)
    assert 0.8 < live["feedback"]["low"] < live["feedback"]["high"] == 1
    screen = here("deployments").out
    assert re.search(rf"^ live +{a[:12]}  100 % +{served + 1} +0 ", screen, re.M), screen
    assert max(map(len, screen.splitlines())) <= 120
    history = here("deployments", "tickets", "--history").out.splitlines()
    assert [re.search(r"  (\w+): live", line)[1] for line in history] == [
        *("deploy", "canary", "promote", "rollback"),
    ]


def test_what_several_servers_counted_is_told_together(here: Here, tmp_path: Path, three):
    a, b, _ = (bundle.manifest.id for bundle in three)
    here("deploy", "version-0")
    here("deploy", "version-1", "--shadow")
    place = deployment(tmp_path)
    for state, took in (("current", [0.004] * 98 + [0.2] * 2), ("stopped", [0.05] * 100)):
        figures = Figures()
        for seconds in took:
            figures.of(a).answered(seconds)
        figures.of(a).errors += 1
        compared = figures.against(a, b)
        compared.agreed, compared.differed, compared.dropped = 45, 5, 7
        report = Report(address="h:1", started=now(), seen=now(), state=state, number=2, wanted=2)
        reports.write(reports.new_place(place.reports), reports.fresh(figures, report))
    (place.reports / "odd.json").write_text("{")
    found = json.loads(here("deployments", "--json").out)
    live, shadow = found["models"]
    assert (live["requests"], live["errors"], shadow["requests"]) == (200, 2, 0)
    assert live["latency_p95_ms"] == pytest.approx(50, rel=0.05)
    assert shadow["latency_p95_ms"] is None
    low, high = clopper_pearson(90, 100, 0.05)
    assert shadow["shadow"] == {
        **{"agreed": 90, "n": 100, "low": float(low), "high": float(high)},
        **{"dropped": 14, "failed": 0},
    }
    assert [one["address"] for one in found["servers"]] == ["h:1"], "a stopped one is no server"
    screen = here("deployments").out
    assert re.search(
        rf"^ shadow +{b[:12]} +0 +0 .*90 of 100 \(0\.824 – 0\.951\), 14 dr", screen, re.M
    )


def test_a_change_that_a_server_cannot_take_is_told_where_it_was_made(
    here: Here, tmp_path: Path, three, monkeypatch: pytest.MonkeyPatch
):
    here("deploy", "version-0")
    begun = Report(address="h:1", started=now(), seen=now(), state="failed", number=1, wanted=2)
    broken = begun.model_copy(update={"problem": "out of memory."})
    reports.write(reports.new_place(deployment(tmp_path).reports), broken)
    said = here("deploy", "version-1")
    assert said.status == 2
    assert "The server at h:1 stays with what it had: out of memory." in said.err
    assert "sartor rollback" in said.err
    assert "The server at h:1 serves change 1: out of memory." in here("deployments").out


def test_what_a_user_mistypes_is_said(here: Here, tmp_path: Path, three):
    assert "Nothing is deployed" in here("deployments").out
    refused(here("promote"), "0 deployments", "sartor deploy BUNDLE")
    refused(here("deploy", "version-0", "--canary", "ten"), "Got 'ten'", "--canary 10%")
    refused(here("deploy", "version-0", "--name", "../x"), "cannot be the name")
    refused(here("deploy", "version-9"), "not a bundle")
    refused(here("serve"), "and not both", "sartor serve BUNDLE")
    refused(here("serve", "version-0", "--deployment", "tickets"), "and not both")
    refused(here("serve", "--deployment", "tickets"), "Nothing is deployed as 'tickets'")
    here("deploy", "version-0", "--name", "one")
    here("deploy", "version-0", "--name", "two")
    refused(here("rollback"), "2 deployments", "one, two")
    refused(here("rollback", "ona"), "Nothing is deployed as 'ona'", "did you mean 'one'?")
    refused(here("deployments", "tow"), "did you mean 'two'?")
    refused(here("deployments", "tow", "--history"), "did you mean 'two'?")

"""Served, corrected, run again: what users said becomes what the next model knows."""

import json
import re
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from sartor.bundle import open_bundle, record_verdicts
from tests.stories.conftest import Finished
from tests.stories.shop import Here, refused, start


@contextmanager
def serving(line: str, cwd: Path) -> Iterator[httpx.Client]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = start(*shlex.split(line)[1:], "--port", port, cwd=cwd)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            _until_ready(client, process)
            yield client
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
        assert (process.returncode, "Traceback" in errors) == (0, False), errors
    finally:
        process.kill()
        process.wait()


def _until_ready(client: httpx.Client, process: subprocess.Popen[str]) -> None:
    for _ in range(300):
        assert process.poll() is None, process.stderr and process.stderr.read()
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError("the server did not get ready in 30 s")


def test_corrections_reach_the_next_run_and_only_new_texts_are_encoded(shop: Finished, here: Here):
    new = ["very late invoice again", "my refund works great thanks", "the invoice is fine"]
    labels = ["bad", "good", "good"]
    printed = re.search(r"^Serve it: (.+)$", here("resume").out, re.M)
    assert printed
    with serving(printed[1] + " --store-texts", shop.folder) as client:
        reply = client.post("/v1/predict", json={"inputs": [{"text": t} for t in new]})
        answer = reply.json()
        assert [set(o["probabilities"]) for o in answer["outputs"]] == [{"good", "bad"}] * 3
        for row, label in enumerate(labels):
            said = {"request_id": answer["request_id"], "row": row, "label": label}
            assert client.post("/v1/feedback", json=said).status_code == 201

    heard = here("listen")
    assert heard.status == 0
    assert "1 requests, 3 answers" in heard.out
    assert json.loads(here("listen", "--json").out)["said"]["n"] == 3

    out = here("feedback", "export", "said.jsonl", "--json")
    assert json.loads(out.out) == {"file": "said.jsonl", "rows": 3}
    rows = [json.loads(line) for line in (shop.folder / "said.jsonl").read_text().splitlines()]
    assert [(r["text"], r["label"]) for r in rows] == list(zip(new, labels, strict=True))

    need = shop.folder / "need.yaml"
    need.write_text(
        need.read_text().replace("  label: label\n", "  label: label\n  feedback: true\n")
    )
    again = here("run", "need.yaml", "--json")
    assert again.status in (0, 1), again.err
    encoded = [line for line in again.err.splitlines() if line.startswith(" encode")]
    assert [line.split(",")[0].split()[1:] for line in encoded] == [["3", "texts"]], again.err
    report = json.loads(here("report", "--json").out)
    assert report["data"]["corrections"] == 3
    assert report["data"]["train"] == 220 + 3
    first = json.loads(here("report", "1", "--json").out)
    assert report["data"]["test"] == first["data"]["test"], "feedback goes to training only"
    assert report["looks"] == 2
    trained = [json.loads(x) for x in here("data", "show", "--split", "test").out.splitlines()]
    assert not {row["text"] for row in trained} & set(new)


def test_serve_and_listen_refuse_what_is_not_theirs(new_shop: Path, here: Here):
    refused(here("serve", ".sartor/bundles/none"), "is not a bundle")
    refused(here("listen", "--workspace", "reviews.csv"), "reviews.csv")


def test_a_bundle_that_was_not_released_is_served_only_on_request(shop: Finished, here: Here):
    bundle = open_bundle(shop.bundle)
    record_verdicts(bundle, (), released=False)
    refused(here("serve", shop.bundle), "--unreleased")
    (shop.folder / "one.jsonl").write_text("very good\n")
    said = here("predict", shop.bundle, "one.jsonl")
    assert said.status == 0
    assert "Warning" in said.err
    assert json.loads(said.out)["probabilities"]

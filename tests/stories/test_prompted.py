"""A language model is asked first: from the need to a bundle that asks it for others."""

import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import sartor
from sartor.llm.asker import WORKERS
from tests.llm.server import Llm, running
from tests.served import serving
from tests.stories.shop import NEED, Here, bundle_files, command, open_shop, refused, start
from tests.stories.test_killed import only_bundle, run_until, same_shop

KEY = "SHOP_LLM_KEY"
SECRET = "sk-0123456789"


@pytest.fixture
def llm() -> Iterator[Llm]:
    with running(Llm()) as found:
        yield found


def need(llm: Llm, more: str = "") -> str:
    asked = f"llm: {{url: {llm.url}, model: tiny, examples: 4{more}}}"
    return NEED.replace("{backbones: [./tiny]}", f"{{backbones: [./tiny], {asked}}}")


def test_an_llm_is_asked_judged_shipped_and_served_only_where_it_is_allowed(
    tmp_path: Path, llm: Llm, here: Here, monkeypatch: pytest.MonkeyPatch
):
    shop = open_shop(tmp_path / "shop", need(llm, f", key: {KEY}"))
    refused(here("run", "need.yaml", "--method", "prompted"), KEY, "is not set")
    assert not llm.requests
    monkeypatch.setenv(KEY, SECRET)

    planned = here("plan", "need.yaml", "--json")
    rungs = {each["rung"]: each for each in json.loads(planned.out)["plan"]}
    assert not llm.requests, "a plan asks nothing"
    assert rungs["prompted"]["requests"] > 100
    assert rungs["prompted"]["tokens"] > 10 * rungs["prompted"]["requests"]

    said = here("run", "need.yaml", "--method", "prompted")
    assert said.status == 0, said.err
    assert llm.url in said.out
    assert set(llm.keys) == {f"Bearer {SECRET}"}
    assert rungs["prompted"]["requests"] == len(llm.asked), "the price was right"
    assert set(llm.asked.values()) == {1}
    bundle = only_bundle(shop)
    files = bundle_files(bundle)
    assert "prompt.json" in files
    assert "model.onnx" not in files
    manifest = json.loads(files["manifest.json"])
    assert manifest["released"]
    assert manifest["lineage"]["method"] == "prompted"
    assert llm.url in files["README.md"].decode()
    assert len(json.loads(files["prompt.json"])["examples"]) == 4
    report = (shop / ".sartor" / "runs" / "2" / "report.html").read_text()
    assert f"Every text is sent to {llm.url}" in report
    kept = [p for p in (shop / ".sartor").rglob("*") if p.is_file()]
    assert not [p for p in kept if SECRET.encode() in p.read_bytes()], "the key is nowhere kept"

    asked = len(llm.requests)
    (shop / "new.txt").write_text("a really good order\nan utterly broken thing\n")
    place = llm.url.removesuffix("/v1")
    refused(here("predict", bundle, "new.txt"), place, f"--allow-llm {place}={KEY}")
    refused(here("predict", bundle, "new.txt", "--allow-llm", place), "would send the key")
    assert len(llm.requests) == asked, "nothing is sent before it is allowed"
    allowed = f"{place}={KEY}"
    answered = here("predict", bundle, "new.txt", "--allow-llm", allowed)
    assert [json.loads(line)["label"] for line in answered.out.splitlines()] == ["good", "bad"]

    monkeypatch.setenv("SARTOR_ALLOW_LLM", allowed)
    assert sartor.load(bundle).predict(["great thanks"])[0]["label"] == "good"
    served(bundle, llm)


def served(bundle: Path, llm: Llm) -> None:
    before, body = len(llm.requests), {"inputs": [{"text": "I love it"}]}
    with serving(bundle=str(bundle)) as client:
        found = client.post("/v1/predict", json=body)
        assert found.json()["outputs"][0]["label"] == "good"
        assert len(llm.requests) == before + 1
        llm.behave = lambda *_: (401, {}, b"")
        found = client.post("/v1/predict", json=body)
        assert found.status_code == 502
        assert "does not take the key" in found.text


@pytest.mark.slow
def test_a_run_killed_while_it_asks_asks_nothing_twice_and_ends_with_the_same_bytes(
    tmp_path: Path, llm: Llm
):
    whole = open_shop(tmp_path / "whole", need(llm))
    assert run_until("never", whole, "prompted") == 0
    first = set(llm.asked)
    assert set(llm.asked.values()) == {1}
    facts = whole / ".sartor" / "runs" / "1" / "facts.json"
    mine = json.loads(facts.read_text())
    known = {k: v for k, v in mine.items() if not k.startswith(("asked", "unanswered"))}
    given = tmp_path / "facts.json"
    given.write_text(json.dumps(known))
    for point in ("StageProgress ask 20", "StageDone ask"):
        llm.asked.clear()
        shop = same_shop(whole, tmp_path / point.replace(" ", "-"))
        assert run_until(point, shop, "prompted", given) == -signal.SIGKILL
        before = llm.asked.total()
        assert before >= 20
        said = command("resume", "--json", cwd=shop)
        assert said.status == 0, said.err
        assert set(llm.asked) == first
        # What was in the air when the run was killed never came to an answer.
        most = WORKERS if "20" in point else 0
        assert llm.asked.total() <= len(first) + most
        assert bundle_files(only_bundle(shop)) == bundle_files(only_bundle(whole))


def test_without_an_llm_there_is_no_such_rung_and_asking_for_it_is_refused(
    new_shop: Path, here: Here
):
    refused(here("run", "need.yaml", "--method", "prompted"), "names none", "llm: {url:")


def test_an_llm_that_fails_is_stepped_over(tmp_path: Path, llm: Llm, here: Here):
    llm.behave = lambda *_: (404, {}, b"no such model")
    text = need(llm).replace("prefer: {", "prefer: {methods: [prompted, head], ")
    open_shop(tmp_path / "shop", text)
    said = here("run", "need.yaml")
    assert said.status == 0, said.err
    assert "no such model" in said.err
    manifest = json.loads((only_bundle(tmp_path / "shop") / "manifest.json").read_text())
    assert manifest["lineage"]["method"] == "head"


def test_a_budget_bounds_what_is_asked(tmp_path: Path, llm: Llm, here: Here):
    open_shop(tmp_path / "shop", need(llm) + "budget: {requests: 5}\n")
    refused(here("run", "need.yaml", "--method", "prompted"), "budget.requests allows 5")
    assert not llm.requests


def test_fresh_rows_are_judged_only_where_the_server_is_allowed(
    tmp_path: Path, llm: Llm, here: Here
):
    shop = open_shop(tmp_path / "shop", need(llm))
    assert here("run", "need.yaml", "--method", "prompted").status == 0
    bundle = only_bundle(shop)
    rows = "".join(f"so very good {n},good\nrather bad {n},bad\n" for n in range(40))
    (shop / "fresh.csv").write_text("text,label\n" + rows)
    refused(here("judge", bundle, "fresh.csv"), "--allow-llm")
    said = here("judge", bundle, "fresh.csv", "--allow-llm", llm.url, "--json")
    assert said.status == 0, said.err
    assert json.loads(said.out)["state"] == "met"


def test_a_run_that_is_stopped_while_it_asks_ends_at_once(tmp_path: Path, llm: Llm):
    heard = threading.Event()
    go_on = threading.Event()

    def slow(*_: object) -> None:
        heard.set()
        go_on.wait(60)

    llm.behave = slow
    shop = open_shop(tmp_path / "shop", need(llm))
    process = start("run", "need.yaml", "--method", "prompted", cwd=shop)
    try:
        assert heard.wait(120)
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=30)
    finally:
        go_on.set()
    assert (process.returncode, out) == (130, ""), errors
    assert "go on with `sartor resume 1`" in errors

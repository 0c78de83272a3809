"""Pairs of texts, from a file to answers, and from what users say back into the next run."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from sartor.search.rungs import method_order
from sartor.shrink.stocks.pair import logits_of
from tests.served import serving
from tests.stories.shop import Here, ran, refused
from tests.tiny import WORDS, make_tiny_bert

NEED = """name: pairs
task: text_pair
data:
  train: pairs.csv
  text: one
  text_pair: other
  label: label
accept:
  - accuracy >= 0.70
  - auc >= 0.70
prefer: {{backbones: [./tiny], methods: [{method}]}}
"""


def pairs(count: int, seed: int = 0) -> list[tuple[str, str, str]]:
    """(one, other, label), all texts different: the same words in another order, or other words."""
    draw, seen = random.Random(seed), set[str]()
    rows: list[tuple[str, str, str]] = []
    while len(rows) < count:
        words = draw.sample(WORDS, draw.randint(4, 7))
        label = draw.choice(("same", "different"))
        others = words if label == "same" else draw.sample(WORDS, draw.randint(4, 7))
        one, other = (" ".join(draw.sample(said, len(said))) for said in (words, others))
        if one == other or {one, other} & seen:
            continue
        seen |= {one, other}
        rows.append((one, other, label))
    return rows


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    make_tiny_bert(folder / "tiny")
    lines = ["one,other,label", *(",".join(row) for row in pairs(400))]
    (folder / "pairs.csv").write_text("\n".join(lines) + "\n")
    (folder / "need.yaml").write_text(NEED.format(method="head"))
    return folder


def ran_with(here: Here, place: Path, method: str) -> dict[str, Any]:
    (place / "need.yaml").write_text(NEED.format(method=method))
    return ran(here)


@pytest.mark.slow
def test_a_need_on_pairs_is_met_served_and_learnt_from(place: Path, here: Here):
    found = ran_with(here, place, "head")
    verdicts = {v["criterion"]: v for v in found["verdicts"]}
    assert verdicts["accuracy >= 0.70"]["value"] > 0.7
    assert verdicts["auc >= 0.70"]["low"] <= verdicts["auc >= 0.70"]["value"]
    report = json.loads(here("report", "--json").out)
    assert report["task"] == "text_pair"
    assert all(" | " in row["text"] for row in report["errors"])
    page = (place / here("report").out.strip()).read_text()
    assert "ranked above one that has not" in page

    new = pairs(4, seed=9)
    (place / "ask.jsonl").write_text(
        "".join(json.dumps({"text": a, "text_pair": b}) + "\n" for a, b, _ in new)
    )
    answers = here("predict", found["bundle"], "ask.jsonl")
    assert answers.status == 0, answers.err
    labels = [json.loads(line)["best"] for line in answers.out.splitlines()]
    assert here("bundle", "export", found["bundle"], "--transformers", "out").status == 0
    exported = logits_of(place / "out", [(one, other) for one, other, _ in new]).argmax(1)
    outputs = json.loads((place / "out" / "head.json").read_text())["outputs"]
    assert [outputs[at] for at in exported] == labels
    assert len(labels) == 4
    assert set(labels) <= {"same", "different"}
    (place / "one.txt").write_text("a text alone\n")
    refused(here("predict", found["bundle"], "one.txt"), "line 1 is one text", "text_pair")

    store = str(place / ".sartor" / "store.db")
    with serving(bundle=str(place / found["bundle"]), store=store, unreleased=True) as client:
        one, other, label = new[0]
        row = {"text": one, "text_pair": other}
        answer = client.post("/v1/predict", json={"inputs": [row]}).json()
        assert answer["outputs"][0]["best"] == labels[0]
        body = {"request_id": answer["request_id"], "label": label, "inputs": row}
        assert client.post("/v1/feedback", json=body).status_code == 201
    need = NEED.format(method="head").replace(
        "  label: label\n", "  label: label\n  feedback: true\n"
    )
    (place / "need.yaml").write_text(need)
    again = here("run", "need.yaml", "--json")
    assert again.status in (0, 1), again.err
    learnt = json.loads(here("report", "--json").out)
    assert learnt["data"]["corrections"] == 1
    assert learnt["data"]["train"] == report["data"]["train"] + 1


@pytest.mark.parametrize(
    "method",
    ["static", *(pytest.param(name, marks=pytest.mark.slow) for name in ("zero_shot", "lora"))],
)
def test_another_rung_takes_pairs_to_a_bundle(place: Path, here: Here, method: str):
    found = ran_with(here, place, method)
    assert (place / found["bundle"] / "model.onnx").is_file()
    (tried,) = {c["rung"] for c in json.loads(here("report", "--json").out)["candidates"]}
    assert tried == method
    if method == "static":
        refused(here("bundle", "export", found["bundle"], "--transformers", "out"), "(static)")
        return
    said = here("bundle", "export", found["bundle"], "--transformers", "out", "--json")
    assert said.status == 0, said.err
    assert json.loads(said.out)["difference"] < 0.1


def test_the_plan_of_pairs_prices_what_can_read_them(place: Path, here: Here):
    (place / "need.yaml").write_text(NEED.format(method="head").replace(", methods: [head]", ""))
    plan = json.loads(here("plan", "need.yaml", "--json").out)
    rungs = [rung["rung"] for rung in plan["plan"]]
    assert rungs == method_order(None)


def test_init_finds_the_two_texts(place: Path, here: Here):
    found = here("init", "pairs.csv", "--task", "text_pair", "--to", "begun.yaml")
    assert found.status == 0, found.err
    assert "text = one, text_pair = other" in found.out
    assert "task: text_pair" in (place / "begun.yaml").read_text()
    assert "0 faults" in here("data", "check", "begun.yaml").out
    (place / "single.csv").write_text("text,label\n" + "a good thing,x\na bad thing,y\n" * 9)
    refused(here("init", "single.csv", "--task", "text_pair", "--to", "s.yaml"), "1 column looks")


def test_data_check_names_pairs_in_the_wrong_columns(place: Path, here: Here):
    rows = (place / "pairs.csv").read_text() + "is it good,same,it is very good\n,no text,same\n"
    (place / "pairs.csv").write_text(rows)
    found = here("data", "check", "need.yaml", "--json")
    assert found.status == 2
    findings = json.loads(found.out)["findings"]
    (fault,) = [f for f in findings if f["level"] == "fault"]
    assert (fault["row"], "wrong columns" in fault["what"]) == (401, True)
    assert any(f["row"] == 402 and "empty text" in f["what"] for f in findings)


def test_a_need_that_lacks_the_second_text_says_so(place: Path, here: Here):
    need = NEED.format(method="head")
    (place / "need.yaml").write_text(need.replace("  text_pair: other\n", ""))
    refused(here("plan", "need.yaml"), "data.text_pair is missing")
    (place / "need.yaml").write_text(need.replace("text_pair: other", "text_pair: one"))
    refused(here("plan", "need.yaml"), "both name the column 'one'")
    windows = need.replace("methods: [head]", "long_texts: windows")
    (place / "need.yaml").write_text(windows)
    refused(here("plan", "need.yaml"), "windows are of one text")

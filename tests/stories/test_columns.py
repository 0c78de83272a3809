"""Columns, with a note and without, from a file to answers and what users say into the next run."""

import json
import random
from pathlib import Path

import pytest

from tests.served import serving
from tests.stories.shop import BAD, GOOD, Here, ran, refused
from tests.tiny import make_tiny_bert

NEED = """name: credit
task: tabular_text
data:
  train: credit.csv
  columns: [amount, purpose, opened]
  label: outcome
accept:
  - auc[label=bad] >= 0.60
  - expected_cost[label=bad, miss=5, false_alarm=1] <= 0.9
  - size_mb <= 3
prefer: {backbones: [./tiny], methods: [columns]}
"""
COUNT = 300


def write_cases(path: Path) -> None:
    """Large amounts and boats go wrong more often, and so do cases with a bad word in the note."""
    draw = random.Random(0)
    lines = ["amount,purpose,opened,note,outcome"]
    for i in range(COUNT):
        amount, purpose = draw.randint(100, 9_999), draw.choice(["car", "boat", "house"])
        word = draw.choice((*GOOD, *BAD))
        risk = amount / 5_000 + (purpose == "boat") + 1.5 * (word in BAD) + draw.gauss(0, 0.4)
        note = f"the order was {word} and it is the price number {i}"
        shown = "" if i % 20 == 0 else str(amount)
        day = f"2026-{1 + i % 12:02}-{1 + i % 28:02}"
        lines.append(f"{shown},{purpose},{day},{note},{'bad' if risk > 2 else 'good'}")
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    write_cases(folder / "credit.csv")
    (folder / "need.yaml").write_text(NEED)
    return folder


def test_a_table_alone_is_learnt_and_answers(place: Path, here: Here):
    """No backbone is there, and none is asked for."""
    found = ran(here)
    verdicts = {v["criterion"]: v for v in found["verdicts"]}
    assert verdicts["auc[label=bad] >= 0.60"]["value"] > 0.7
    assert verdicts["size_mb <= 3"]["value"] < 0.2
    report = json.loads(here("report", "--json").out)
    assert {c["rung"] for c in report["candidates"]} == {"columns"}
    page = (place / here("report").out.strip()).read_text()
    assert "what an answer costs on average" in page

    row = {"amount": 9_000, "purpose": "boat", "opened": None}
    (place / "ask.jsonl").write_text(json.dumps(row) + "\n")
    answers = here("predict", found["bundle"], "ask.jsonl")
    assert answers.status == 0, answers.err
    assert json.loads(answers.out)["best"] == "bad"
    (place / "odd.jsonl").write_text('{"amount": 3}\n')
    refused(here("predict", found["bundle"], "odd.jsonl"), "no 'purpose'")


@pytest.mark.slow
def test_what_users_say_of_a_table_is_learnt_from(place: Path, here: Here):
    found, row = ran(here), {"amount": 9_000, "purpose": "boat", "opened": None}
    report = json.loads(here("report", "--json").out)
    store = str(place / ".sartor" / "store.db")
    with serving(bundle=str(place / found["bundle"]), store=store, unreleased=True) as client:
        answer = client.post("/v1/predict", json={"inputs": [row]}).json()
        assert answer["outputs"][0]["best"] == "bad"
        body = {"request_id": answer["request_id"], "label": "good", "inputs": row}
        assert client.post("/v1/feedback", json=body).status_code == 201
    text = NEED.replace("  label: outcome\n", "  label: outcome\n  feedback: true\n")
    (place / "need.yaml").write_text(text)
    ran(here)
    learnt = json.loads(here("report", "--json").out)
    assert learnt["data"]["corrections"] == 1
    assert learnt["data"]["train"] == report["data"]["train"] + 1


@pytest.mark.slow
@pytest.mark.parametrize("method", ["boosting", "fusion"])
def test_another_rung_takes_columns_and_a_note_to_a_bundle(place: Path, here: Here, method: str):
    make_tiny_bert(place / "tiny")
    text = NEED.replace("  label: outcome\n", "  label: outcome\n  text: note\n")
    (place / "need.yaml").write_text(text.replace("[columns]", f"[{method}]"))
    found = ran(here)
    report = json.loads(here("report", "--json").out)
    assert {c["rung"] for c in report["candidates"]} >= {method}
    assert all(a["agreement"] >= 0.97 for a in report["artefacts"] if a["kept"])
    verdicts = {v["criterion"]: v for v in found["verdicts"]}
    assert verdicts["auc[label=bad] >= 0.60"]["value"] > 0.6
    row = {"text": "it was awful", "amount": 9_000, "purpose": "boat", "opened": "2026-05-06"}
    (place / "ask.jsonl").write_text(json.dumps(row) + "\n")
    assert json.loads(here("predict", found["bundle"], "ask.jsonl").out)["best"] == "bad"


@pytest.mark.slow
def test_what_no_rung_reaches_alone_is_tried_together(place: Path, here: Here):
    make_tiny_bert(place / "tiny")
    text = NEED.replace("  label: outcome\n", "  label: outcome\n  text: note\n")
    text = text.replace(", methods: [columns]", "").replace(">= 0.60", ">= 0.995")
    (place / "need.yaml").write_text(text)
    ran(here)
    report = json.loads(here("report", "--json").out)
    tried = {c["rung"] for c in report["candidates"]}
    assert {"columns", "boosting", "fusion"} <= tried
    assert {"ensemble", "stack"} & tried
    assert not [c for c in report["candidates"] if c["state"] == "failed"]


def test_the_plan_says_what_each_column_holds_and_warns(place: Path, here: Here):
    rows = (place / "credit.csv").read_text().splitlines()
    leak = [rows[0] + ",paid", *(f"{row},{row.endswith('bad')}" for row in rows[1:])]
    (place / "credit.csv").write_text("\n".join(leak) + "\n")
    (place / "need.yaml").write_text(NEED.replace("opened]", "opened, paid]"))
    found = here("plan", "need.yaml")
    assert found.status == 0, found.err
    said = " ".join(found.err.split())
    assert "number: amount; category: purpose, paid; date: opened" in said
    assert "'paid' alone tells" in said


def test_init_writes_a_need_of_columns_that_can_be_planned(place: Path, here: Here):
    found = here("init", "credit.csv", "--task", "tabular_text", "--to", "begun.yaml")
    assert found.status == 0, found.err
    text = (place / "begun.yaml").read_text()
    assert "amount: number" in text
    assert "text: note" in text
    assert "0 faults" in here("data", "check", "begun.yaml").out


def test_a_cell_that_is_no_number_is_told_with_its_row(place: Path, here: Here):
    rows = (place / "credit.csv").read_text().splitlines()
    rows[8] = rows[8].replace(rows[8].split(",")[0], "12 EUR", 1)
    (place / "credit.csv").write_text("\n".join(rows) + "\n")
    refused(here("plan", "need.yaml"), "credit.csv, row 8: column 'amount' is '12 EUR'")
    found = here("data", "check", "need.yaml", "--json")
    assert "row 8" in json.loads(found.out)["findings"][0]["what"]

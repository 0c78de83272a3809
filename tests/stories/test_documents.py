"""Documents, from a base and rows that name them to answers that quote them; and another base."""

import csv
import json
import random
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sartor.models.encode import TextEncoder
from sartor.search import setup
from tests.stories.shop import Here, exported, ran, refused, write_table
from tests.stories.test_feedback import serving
from tests.tiny import WORDS, make_tiny_bert

NEED = """name: answers
task: retrieval
data:
  documents: base.csv
  train: rows.csv
  text: question
  label: answer
accept:
  - recall_at_5 >= 0.50
  - mrr >= 0.30
  - size_mb <= 5
prefer: {backbones: [./tiny], methods: [nearest]}
"""


def read(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def asked(base, count, seed):
    """(question, id): some of a document's words; all questions different."""
    draw, found = random.Random(seed), {}
    while len(found) < count:
        name, text = draw.choice(base)
        words = draw.sample(text.split(), draw.choice((4, 5, 6)))
        found.setdefault(" ".join(words), name)
    return list(found.items())


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    make_tiny_bert(folder / "tiny")
    draw = random.Random(0)
    base = [(f"d{i}", " ".join(draw.sample(WORDS, 9))) for i in range(30)]
    write_table(folder / "base.csv", ["id", "text"], base)
    # Documents 25 to 29 answer nothing here, and some rows have no answer.
    rows = asked(base[:25], 300, 1)
    none = [(" ".join(draw.sample(WORDS, 3)), "[]") for _ in range(12)]
    write_table(folder / "rows.csv", ["question", "answer"], [*rows, *none])
    (folder / "need.yaml").write_text(NEED)
    return folder


@pytest.mark.slow
def test_a_base_becomes_a_bundle_that_quotes_it_and_takes_another(place: Path, here: Here):
    outcome = ran(here)
    verdicts = {v["criterion"]: v for v in outcome["verdicts"]}
    assert verdicts["recall_at_5 >= 0.50"]["value"] > 0.5
    assert "counting shared words (BM25) gives" in verdicts["mrr >= 0.30"]["note"]
    bundle = Path(outcome["bundle"])
    held = {file.name for file in (place / bundle).iterdir()}
    assert {"documents.jsonl", "index.npy", "model.onnx"} <= held
    manifest = json.loads((place / bundle / "manifest.json").read_text())
    assert manifest["need"]["data"]["label_descriptions"] == {}
    assert len(manifest["outputs"]) == 30

    assert (exported(here, outcome["bundle"]) / "modules.json").is_file()
    words = dict(read(place / "base.csv"))
    question = " ".join(words["d3"].split()[:7])
    line = f"sartor serve {shlex.quote(str(bundle))} --unreleased --store-texts"
    with serving(line, place) as client:
        assert client.get("/v1/model").json()["target"] == "documents"
        reply = client.post("/v1/predict", json={"inputs": [{"text": question}]}).json()
        (answer,) = reply["outputs"]
        listed = {each["id"]: each for each in answer["documents"]}
        assert len(listed) == 10
        assert listed["d3"]["text"] == words["d3"]
        named = {"request_id": reply["request_id"]}
        wrong = client.post("/v1/feedback", json=named | {"label": "d3"})
        assert (wrong.status_code, "'documents'" in wrong.text) == (422, True)
        strange = client.post("/v1/feedback", json=named | {"documents": ["d33"]})
        assert "no document 'd33'" in strange.json()["error"]["what"]
        taken = client.post("/v1/feedback", json=named | {"documents": ["d3"]})
        assert taken.status_code == 201, taken.text
        contract = client.get("/openapi.json").json()["components"]["schemas"]
        assert contract["FeedbackBody"]["required"] == ["request_id", "documents"]
        assert contract["Answer"]["required"] == ["answer", "confidence", "documents"]
        body = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["x"]}]}
        told = client.post("/v2/models/answers/infer", json=body).json()
        outputs = {out["name"]: out for out in told["outputs"]}
        assert outputs["probabilities"]["shape"] == [1, 30]
    here("feedback", "export", "said.jsonl")
    (row,) = [json.loads(line) for line in (place / "said.jsonl").read_text().splitlines()]
    assert (row["text"], json.loads(row["label"])) == (question, ["d3"])

    # Another base: one document says something else, one is new, most are gone.
    base = [(name, words[name]) for name in ("d0", "d1", "d2")]
    base += [
        ("d3", "please love my broken invoice and thanks very"),
        ("new", "awful taste and hate but works not fine"),
    ]
    write_table(place / "next.csv", ["id", "text"], base)
    write_table(place / "fresh.csv", ["question", "answer"], asked(base, 60, 2))
    found = here("bundle", "reindex", bundle, "next.csv", "--to", "next", "--json")
    assert found.status == 0, found.err
    counts = json.loads(found.out)
    assert (counts["kept"], counts["new"], counts["gone"], counts["judged"]) == (3, 2, 26, None)
    told = json.loads((place / "next" / "manifest.json").read_text())
    assert told["lineage"]["reindexed"]["of"] == manifest["id"]
    assert (told["released"], told["verdicts"]) == (False, [])
    (place / "ask.txt").write_text("please love my broken invoice and thanks very\n")
    answers = here("predict", "next", "ask.txt")
    assert answers.status == 0, answers.err
    assert json.loads(answers.out)["documents"][0]["id"] == "d3"
    again = here("bundle", "reindex", bundle, "next.csv", "--to", "judged", "--labels", "fresh.csv")
    assert again.status == 0, again.err
    assert "recall_at_5" in again.out
    judged = json.loads((place / "judged" / "manifest.json").read_text())
    assert judged["verdicts"][0]["criterion"] == "recall_at_5 >= 0.50"


def test_backbones_are_compared_on_what_documents_say_and_not_on_their_ids(
    place: Path, here: Here, monkeypatch: pytest.MonkeyPatch
):
    embedded: list[str] = []

    class Told(TextEncoder):
        def passages(self, texts: Sequence[str], layers: Sequence[int]) -> Any:
            embedded.extend(texts)
            return super().passages(texts, layers)

    monkeypatch.setattr(setup, "TextEncoder", Told)
    (place / "need.yaml").write_text(NEED.replace("[nearest]", "[nearest], pretrain: simcse"))
    said = here("run", "need.yaml", "--json")
    assert said.status in (0, 1), said.err
    assert "frozen heads save" in said.err
    _, texts = zip(*read(place / "base.csv")[1:], strict=True)
    assert set(embedded) == set(texts)


def test_answers_that_rows_hold_themselves_are_a_base(place: Path, here: Here):
    words = dict(read(place / "base.csv"))
    rows = [(q, words.get(a, a)) for q, a in read(place / "rows.csv")[1:]]
    write_table(place / "pairs.csv", ["question", "answer"], rows)
    made = here("init", "pairs.csv", "--task", "retrieval", "--to", "pairs.yaml")
    assert made.status == 0, made.err
    text = (place / "pairs.yaml").read_text()
    assert "text: question" in text
    assert "label: answer" in text
    assert "recall_at_5 >=" in text
    (place / "pairs.yaml").write_text(text + "prefer: {backbones: [./tiny]}\n")
    plan = here("plan", "pairs.yaml", "--json")
    assert plan.status == 0, plan.err
    found = json.loads(plan.out)
    rungs = [each["rung"] for each in found["plan"]]
    assert rungs[0] == "nearest"
    assert "head" not in rungs


def test_init_finds_the_column_that_names_documents(place: Path, here: Here):
    options = ("--task", "retrieval", "--documents", "base.csv", "--to", "begun.yaml")
    made = here("init", "rows.csv", *options)
    assert made.status == 0, made.err
    text = (place / "begun.yaml").read_text()
    assert "documents: base.csv" in text
    assert "label: answer" in text
    schema = json.loads((place / "need.schema.json").read_text())
    assert "documents" in schema["$defs"]["Data"]["properties"]


def test_what_is_wrong_with_a_base_is_told_with_its_row(place: Path, here: Here):
    (place / "base.csv").write_text("id,text\nd0,one\nd0,two\nd1,\n")
    said = here("plan", "need.yaml")
    refused(said, "base.csv, row 2", "'d0' is at base.csv, row 1 already")
    checked = here("data", "check", "need.yaml", "--json")
    assert checked.status == 2
    found = json.loads(checked.out)["findings"]
    assert [(f["file"], f["row"]) for f in found if f["file"] == "base.csv"] == [
        ("base.csv", 2),
        ("base.csv", 3),
    ]
    need = NEED.replace("  documents: base.csv\n", "  documents: base.csv\n  labels: [a, b]\n")
    (place / "need.yaml").write_text(need)
    refused(here("plan", "need.yaml"), "data.labels", "data.documents")
    other = NEED.replace("task: retrieval", "task: multi_label")
    (place / "need.yaml").write_text(other)
    refused(
        here("plan", "need.yaml"), "data.documents is read by mastery, recommendation, retrieval"
    )


def test_a_row_that_names_no_document_is_told_with_the_near_miss(place: Path, here: Here):
    with (place / "rows.csv").open("a") as file:
        file.write("please where is my refund,d333\n")
    refused(here("plan", "need.yaml"), "rows.csv, row 313", "'d333'")

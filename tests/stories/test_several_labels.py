"""Texts with several labels: from a need to a bundle that answers, is corrected, and learns."""

import json
import random
import shlex
from pathlib import Path

import pytest

from sartor.serve.runtime import load
from sartor.shrink.stocks._predict import Model
from tests.stories.shop import Here, exported, furnished, ran, refused, write_table
from tests.stories.test_feedback import serving

WORDS = {
    "refund": ("refund", "money"),
    "late": ("late", "order"),
    "praise": ("great", "love"),
    "broken": ("broken", "bad"),
}
_FILL = ("the", "a", "is", "was", "very", "this", "that", "and", "it", "my", "price", "please")
NEED = """name: tickets
task: multi_label
data:
  train: tickets.csv
  text: text
  label: topics
accept:
  - f1_micro >= 0.80
  - recall[label=late] >= 0.60
  - hamming_loss <= 0.2
  - size_mb <= 5
prefer: {backbones: [./tiny], methods: [METHODS]}
"""


def tickets(count: int, seed: int = 0) -> dict[str, list[str]]:
    """Text to topics; every topic puts a word of its own into a text."""
    draw = random.Random(seed)
    rows: dict[str, list[str]] = {}
    while len(rows) < count:
        topics = sorted(t for t in WORDS if draw.random() < 0.35)
        words = [draw.choice(_FILL) for _ in range(draw.randint(5, 10))]
        for topic in topics:
            for _ in range(2):
                words.insert(draw.randrange(len(words)), draw.choice(WORDS[topic]))
        rows[" ".join(words)] = topics
    return rows


def open_shop(folder: Path, methods: str) -> Path:
    furnished(folder, NEED.replace("METHODS", methods))
    rows = ((text, json.dumps(topics)) for text, topics in tickets(400).items())
    write_table(folder / "tickets.csv", ("text", "topics"), rows)
    return folder


def test_a_need_becomes_a_bundle_that_is_served_corrected_and_run_again(tmp_path, here: Here):
    shop = open_shop(tmp_path / "shop", "static, head")
    outcome = ran(here)
    assert [v["state"] for v in outcome["verdicts"]] == ["met"] * 4, outcome["verdicts"]
    report = json.loads(here("report", "--json").out)
    assert report["confusion"] == {}
    assert {each["label"] for each in report["by_label"]} == set(WORDS)
    page = (shop / ".sartor" / "runs" / "1" / "report.html").read_text()
    assert "rows given it" in page

    new = "my refund is late please"
    with serving(f"sartor serve {shlex.quote(outcome['bundle'])} --store-texts", shop) as client:
        model = client.get("/v1/model").json()
        assert (model["target"], sorted(model["labels"])) == ("labels", sorted(WORDS))
        reply = client.post("/v1/predict", json={"inputs": [{"text": new}]}).json()
        (answer,) = reply["outputs"]
        assert set(answer) == {"labels", "probabilities"}
        named = {"request_id": reply["request_id"]}
        wrong = client.post("/v1/feedback", json=named | {"label": "late"})
        assert (wrong.status_code, "'labels'" in wrong.text) == (422, True)
        strange = client.post("/v1/feedback", json=named | {"labels": ["lat"]})
        assert strange.status_code == 422
        assert "did you mean 'late'" in strange.json()["error"]["fix"]
        taken = client.post("/v1/feedback", json=named | {"labels": ["refund", "late"]})
        assert taken.status_code == 201, taken.text
        told = client.post(
            f"/v2/models/{model['name']}/infer",
            json={"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": [new]}]},
        ).json()
        labels = {out["name"]: out for out in told["outputs"]}["label"]["data"]
        assert json.loads(labels[0]) == sorted(answer["labels"])
        contract = client.get("/openapi.json").json()["components"]["schemas"]
        assert contract["FeedbackBody"]["required"] == ["request_id", "labels"]
        assert contract["Answer"]["properties"]["labels"]["anyOf"][0]["type"] == "array"
        assert client.post("/v1/feedback", json=named | {"labels": []}).status_code == 201
        back = client.post("/v1/feedback", json=named | {"labels": ["late", "refund"]})
        assert back.status_code == 201

    heard = json.loads(here("listen", "--json").out)
    assert heard["said"]["n"] == 1
    assert heard["new_labels"] == []
    here("feedback", "export", "said.jsonl")
    (row,) = [json.loads(line) for line in (shop / "said.jsonl").read_text().splitlines()]
    assert (row["text"], json.loads(row["label"])) == (new, ["late", "refund"])

    need = shop / "need.yaml"
    need.write_text(
        need.read_text().replace("  label: topics\n", "  label: topics\n  feedback: true\n")
    )
    again = here("run", "need.yaml", "--json")
    assert again.status in (0, 1), again.err
    assert json.loads(here("report", "--json").out)["data"]["corrections"] == 1

    fresh = shop / "fresh.jsonl"
    rows = [{"text": t, "topics": topics} for t, topics in tickets(120, seed=5).items()]
    fresh.write_text("".join(json.dumps(row) + "\n" for row in rows))
    judged = here("judge", outcome["bundle"], "fresh.jsonl", "--json")
    assert judged.status in (0, 1), judged.err
    assert json.loads(judged.out)["verdicts"][0]["n"] > 100


@pytest.mark.parametrize(
    "method",
    [
        "zero_shot",
        "top_layers",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("lora", "full", "bitfit")),
    ],
)
def test_a_method_of_the_ladder_learns_several_labels(method, tmp_path, here: Here):
    shop = open_shop(tmp_path / "shop", method)
    need = shop / "need.yaml"
    need.write_text(need.read_text().replace(">= 0.80", ">= 0.05").replace("<= 0.2", "<= 0.9"))
    said = here("run", "need.yaml", "--json")
    assert said.status in (0, 1), said.err
    report = json.loads(here("report", "--json").out)
    tried = [c for c in report["candidates"] if c["state"] == "tried"]
    assert tried, report["candidates"]
    assert tried[0]["scores"]["f1_micro >= 0.05"] > 0.3
    if method not in ("zero_shot",):
        losses = [h["validation_log_loss"] for h in tried[0]["history"]]
        assert losses[-1] < 0.69
    folder = exported(here, json.loads(said.out)["bundle"])
    (told,) = Model(folder).predict(["the order is late"])
    served = load(shop / json.loads(said.out)["bundle"], unreleased="allow")
    (ours,) = served.predict(["the order is late"])
    assert told["probabilities"] == pytest.approx(ours["probabilities"], abs=0.1)


def test_methods_of_one_label_are_refused_when_planning(tmp_path, here: Here):
    open_shop(tmp_path / "shop", "head, contrastive")
    said = here("plan", "need.yaml")
    assert said.status == 0, said.err
    assert "contrastive is for tasks of one label a row, and multi_label is none" in said.out
    (tmp_path / "shop" / "need.yaml").write_text(NEED.replace("METHODS", "contrastive"))
    refused(here("plan", "need.yaml"), "contrastive is for tasks of one label a row")


def test_a_metric_of_one_label_is_refused_with_those_there_are(tmp_path, here: Here):
    shop = open_shop(tmp_path / "shop", "head")
    need = shop / "need.yaml"
    need.write_text(need.read_text().replace("f1_micro >= 0.80", "accuracy >= 0.80"))
    refused(here("plan", "need.yaml"), "no metric is called 'accuracy'", "subset_accuracy")


def test_init_writes_a_need_of_the_task_asked_for(tmp_path, here: Here):
    shop = open_shop(tmp_path / "shop", "head")
    (shop / "need.yaml").unlink()
    said = here("init", "tickets.csv", "--task", "multi_label")
    assert said.status == 0, said.err
    text = (shop / "need.yaml").read_text()
    assert "task: multi_label" in text
    assert "label: topics" in text
    assert "- f1_micro >=" in text
    assert "# - subset_accuracy" in text
    assert here("data", "check", "need.yaml").status == 0
    refused(here("init", "tickets.csv", "--task", "multi_lable", "--force"), "multi_label")

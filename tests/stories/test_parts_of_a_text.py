"""Parts of texts: from words and tags to a bundle that answers with places, and is corrected."""

import json
import random
import shlex
from pathlib import Path

import pytest

from tests.stories.shop import Here, exported, furnished, ran, refused, write_jsonl
from tests.stories.test_feedback import serving

WORDS = {"refund": "topic", "invoice": "topic", "good": "mood", "awful": "mood", "退款": "topic"}
_FILL = ("the", "a", "is", "was", "very", "this", "that", "and", "it", "my", "price", "质", "量")
NEED = """name: mentions
task: token_classification
data:
  train: mentions.jsonl
  text: text
  label: parts
accept:
  - f1_micro >= 0.70
  - recall[label=mood] >= 0.50
  - size_mb <= 5
prefer: {backbones: [./tiny], methods: [METHODS]}
"""


def mentions(count: int, seed: int = 0) -> list[dict[str, object]]:
    """Texts in English and Chinese, and which of their words are parts."""
    draw = random.Random(seed)
    rows: dict[str, list[dict[str, object]]] = {}
    while len(rows) < count:
        text, parts = "", []
        for _ in range(draw.randint(5, 10)):
            word = draw.choice([*_FILL, *WORDS])
            text += " " if text else ""
            if word in WORDS:
                place = {"start": len(text), "end": len(text) + len(word)}
                parts.append(place | {"label": WORDS[word], "text": word})
            text += word
        rows[text] = parts
    return [{"text": text, "parts": parts} for text, parts in rows.items()]


def open_shop(folder: Path, methods: str) -> Path:
    furnished(folder, NEED.replace("METHODS", methods))
    write_jsonl(folder / "mentions.jsonl", mentions(300))
    return folder


def test_a_need_becomes_a_bundle_that_is_served_corrected_and_judged(tmp_path, here: Here):
    shop = open_shop(tmp_path / "shop", "head")
    outcome = ran(here)
    assert [v["state"] for v in outcome["verdicts"]] == ["met"] * 3, outcome["verdicts"]
    report = json.loads(here("report", "--json").out)
    assert report["confusion"] == {}
    assert {each["label"] for each in report["by_label"]} == {"topic", "mood"}
    manifest = json.loads((shop / outcome["bundle"] / "manifest.json").read_text())
    assert manifest["outputs"] == ["O", "B-mood", "I-mood", "B-topic", "I-topic"]

    new = "awful, my 退款 is good!"
    with serving(f"sartor serve {shlex.quote(outcome['bundle'])} --store-texts", shop) as client:
        model = client.get("/v1/model").json()
        assert (model["target"], model["labels"]) == ("entities", ["mood", "topic"])
        reply = client.post("/v1/predict", json={"inputs": [{"text": new}]}).json()
        (answer,) = reply["outputs"]
        assert answer["entities"]
        assert all(new[e["start"] : e["end"]] == e["text"] for e in answer["entities"])
        named = {"request_id": reply["request_id"]}
        wrong = client.post("/v1/feedback", json=named | {"label": "mood"})
        assert (wrong.status_code, "'entities'" in wrong.text) == (422, True)
        part = {"start": 10, "end": 12, "label": "topic"}
        for entities, why in (
            ([part | {"label": "topix"}], "did you mean 'topic'"),
            ([part, part], "overlap"),
            ([part | {"start": 1}], "which cuts 'awful' in two"),
        ):
            strange = client.post("/v1/feedback", json=named | {"entities": entities, "text": new})
            assert (strange.status_code, why in strange.text) == (422, True), strange.text
        taken = client.post("/v1/feedback", json=named | {"entities": [part]})
        assert taken.status_code == 201, taken.text
        told = client.post(
            f"/v2/models/{model['name']}/infer",
            json={"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": [new]}]},
        ).json()
        tensors = {out["name"]: out["data"] for out in told["outputs"]}
        assert [label for *_, label in json.loads(tensors["label"][0])] == [
            e["label"] for e in answer["entities"]
        ]
        assert tensors["confidence"] == [answer["confidence"]]
        contract = client.get("/openapi.json").json()["components"]["schemas"]
        assert contract["FeedbackBody"]["required"] == ["request_id", "entities"]
        assert "entities" in contract["Answer"]["properties"]

    heard = json.loads(here("listen", "--json").out)
    assert heard["said"]["n"] == 1
    assert heard["new_labels"] == []
    here("feedback", "export", "said.jsonl")
    (row,) = [json.loads(line) for line in (shop / "said.jsonl").read_text().splitlines()]
    assert (row["text"], json.loads(row["label"])) == (new, [[10, 12, "topic"]])

    write_jsonl(shop / "fresh.jsonl", mentions(100, seed=5))
    judged = here("judge", outcome["bundle"], "fresh.jsonl", "--json")
    assert judged.status in (0, 1), judged.err
    assert json.loads(judged.out)["verdicts"][0]["value"] > 0.7


@pytest.mark.parametrize(
    "method",
    [
        "top_layers",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("lora", "full", "bitfit")),
    ],
)
def test_a_method_of_the_ladder_learns_parts(method, tmp_path, here: Here):
    shop = open_shop(tmp_path / "shop", method)
    write_jsonl(shop / "mentions.jsonl", mentions(1_200))
    need = shop / "need.yaml"
    need.write_text(need.read_text().replace(">= 0.70", ">= 0.05").replace(">= 0.50", ">= 0.05"))
    said = here("run", "need.yaml", "--json")
    assert said.status in (0, 1), said.err
    report = json.loads(here("report", "--json").out)
    tried = [c for c in report["candidates"] if c["state"] == "tried"]
    assert tried, report["candidates"]
    assert tried[0]["scores"]["f1_micro >= 0.05"] > 0.15
    folder = exported(here, json.loads(said.out)["bundle"])
    assert "BertForTokenClassification" in (folder / "config.json").read_text()


def test_methods_that_answer_about_whole_texts_are_left_out_of_the_plan(tmp_path, here: Here):
    open_shop(tmp_path / "shop", "head, static, zero_shot, contrastive")
    said = here("plan", "need.yaml")
    assert said.status == 0, said.err
    for name in ("static", "zero_shot"):
        assert f"{name} reads a text as a whole, and token_classification answers" in said.out
    assert "contrastive is for tasks of one label a row" in said.out
    (tmp_path / "shop" / "need.yaml").write_text(NEED.replace("METHODS", "static"))
    refused(here("plan", "need.yaml"), "static reads a text as a whole")


def test_init_finds_parts_tags_and_lines_of_words(tmp_path, here: Here):
    shop = open_shop(tmp_path / "shop", "head")
    (shop / "need.yaml").unlink()
    said = here("init", "mentions.jsonl", "--task", "token_classification")
    assert said.status == 0, said.err
    text = (shop / "need.yaml").read_text()
    assert "task: token_classification" in text
    assert "label: parts" in text
    assert "- f1_micro >=" in text
    assert here("data", "check", "need.yaml").status == 0
    lines = [f"{w} B-{WORDS[w]}" if w in WORDS else f"{w} O" for w in (*_FILL, *WORDS)]
    body = "\n\n".join("\n".join(random.Random(i).sample(lines, 6)) for i in range(60))
    (shop / "words.conll").write_text(body + "\n")
    said = here("init", "words.conll", "--task", "token_classification", "--force")
    assert said.status == 0, said.err
    assert "label: entities" in (shop / "need.yaml").read_text()
    assert here("data", "check", "need.yaml").status == 0
    refused(here("init", "words.conll", "--task", "token_clasification"), "token_classification")


def test_a_part_that_cuts_a_word_is_refused_with_file_and_row(tmp_path, here: Here):
    shop = open_shop(tmp_path / "shop", "head")
    rows = mentions(40)
    rows[6] = {"text": "the invoices", "parts": [{"start": 4, "end": 11, "label": "topic"}]}
    write_jsonl(shop / "mentions.jsonl", rows)
    refused(here("run", "need.yaml"), "mentions.jsonl, row 7", "cuts 'invoices' in two")

"""Questions about texts: from a file to a bundle that answers from a context, and is corrected."""

import json
import random
import shlex
from pathlib import Path

import pytest

from sartor.models.loading import load_tokenizer
from sartor.models.workload import workload
from tests.stories.shop import Here, furnished, ran, refused, write_jsonl
from tests.stories.test_feedback import serving

NEED = """name: manual
task: question_answering
data:
  train: asked.jsonl
  question: question
  context: context
  label: answers
  near_duplicates: false
accept:
  - f1 >= 0.05
  - no_answer_accuracy >= 0.01
  - size_mb <= 5
prefer: {backbones: [./tiny], methods: [METHODS]}
"""
THINGS = ("order", "refund", "invoice", "product", "price", "taste")
_FILL = ("the", "a", "is", "very", "this", "that", "and", "it", "my", "质", "量", "good", "late")


def asked(count: int, seed: int = 0) -> list[dict[str, object]]:
    """Sentences that each hold a thing; questions name one, which the context may lack."""
    draw = random.Random(seed)
    rows: list[dict[str, object]] = []
    for row in range(count):
        told = draw.sample(THINGS, 3)
        sentences = [
            " ".join([*draw.choices(_FILL, k=draw.randint(2, 4)), thing]) for thing in told
        ]
        context = f"{row} " + ". ".join(sentences) + "."
        thing = draw.choice(THINGS)
        answers = []
        if thing in told:
            said = sentences[told.index(thing)]
            answers = [{"text": said, "start": context.index(said)}]
        rows.append({"question": f"{thing}?", "context": context, "answers": answers})
    return rows


def open_shop(folder: Path, methods: str) -> Path:
    furnished(folder, NEED.replace("METHODS", methods))
    write_jsonl(folder / "asked.jsonl", asked(240))
    return folder


def test_a_plan_opens_a_tokenizer_once_and_counts_the_same_texts_once(
    tmp_path, here: Here, monkeypatch: pytest.MonkeyPatch
):
    open_shop(tmp_path / "shop", "overlap, top_layers")
    opened, counted = list[Path](), list[tuple[str, int]]()

    def load(folder: Path):
        opened.append(folder)
        return load_tokenizer(folder)

    def count(encoder, cache, texts, layer=None):
        counted.append((str(layer), len(texts)))
        return workload(encoder, cache, texts, layer)

    monkeypatch.setattr("sartor.models.loading.load_tokenizer", load)
    monkeypatch.setattr("sartor.search.setup.workload", count)
    said = here("plan", "need.yaml", "--json")
    assert said.status == 0, said.err
    assert [rung["rung"] for rung in json.loads(said.out)["plan"]] == ["overlap", "top_layers"]
    assert len(opened) == 1
    assert len(counted) == len(set(counted)) == 4, "two splits, pooled and by token"


def test_a_need_becomes_a_bundle_that_is_served_corrected_and_judged(tmp_path, here: Here):
    shop = open_shop(tmp_path / "shop", "overlap")
    outcome = ran(here)
    first = outcome["verdicts"][0]
    assert first["state"] == "met", outcome["verdicts"]
    assert first["value"] > 0.4
    report = json.loads(here("report", "--json").out)
    assert set(report["data"]["labels"]) == {"answer", "no answer"}
    manifest = json.loads((shop / outcome["bundle"] / "manifest.json").read_text())
    assert manifest["outputs"] == ["start", "end"]
    assert manifest["preprocess"]["windows"]["aggregate"] == "centre"
    assert "a part of the context" in (shop / outcome["bundle"] / "README.md").read_text()

    context = "the good 质量 price. it is late refund."
    row = {"question": "refund?", "context": context}
    command = f"sartor serve {shlex.quote(outcome['bundle'])} --unreleased --store-texts"
    with serving(command, shop) as client:
        model = client.get("/v1/model").json()
        assert (model["target"], model["labels"]) == ("answer", [])
        assert model["inputs"] == ["question", "context"]
        reply = client.post("/v1/predict", json={"inputs": [row]}).json()
        (answer,) = reply["outputs"]
        offered = [answer, *answer["alternatives"]]
        assert all(
            context[each["start"] : each["end"]] == each["answer"]
            for each in offered
            if each["answer"]
        )
        assert sum(each["confidence"] for each in offered) <= 1.0 + 1e-6
        named = {"request_id": reply["request_id"]}
        wrong = client.post("/v1/feedback", json=named | {"label": "late"})
        assert (wrong.status_code, "'answer'" in wrong.text) == (422, True)
        for given, why in (
            ({"text": "never"}, "does not stand in the context"),
            ({"text": "late refund", "start": 3}, "does not stand at 3"),
            ({"text": "ate refund"}, "cuts 'late' in two"),
        ):
            strange = client.post("/v1/feedback", json=named | {"answer": given, "inputs": row})
            assert (strange.status_code, why in strange.text) == (422, True), strange.text
        unplaced = client.post("/v1/feedback", json=named | {"answer": {"text": "late refund"}})
        assert (unplaced.status_code, "where it begins" in unplaced.text) == (422, True)
        right = {"text": "late refund"}
        taken = client.post("/v1/feedback", json=named | {"answer": right, "inputs": row})
        assert taken.status_code == 201, taken.text
        inputs = [
            {"name": name, "datatype": "BYTES", "shape": [1], "data": [text]}
            for name, text in row.items()
        ]
        told = client.post(f"/v2/models/{model['name']}/infer", json={"inputs": inputs}).json()
        tensors = {out["name"]: out["data"] for out in told["outputs"]}
        assert tensors["confidence"] == [answer["confidence"]]
        contract = client.get("/openapi.json").json()["components"]["schemas"]
        assert contract["FeedbackBody"]["required"] == ["request_id", "answer"]
        assert "alternatives" in contract["Answer"]["properties"]

    heard = json.loads(here("listen", "--json").out)
    assert heard["said"]["n"] == 1
    here("feedback", "export", "said.jsonl")
    (kept,) = [json.loads(line) for line in (shop / "said.jsonl").read_text().splitlines()]
    assert json.loads(kept["label"]) == [[25, 36, "late refund"]]

    write_jsonl(shop / "fresh.jsonl", asked(60, seed=5))
    judged = here("judge", outcome["bundle"], "fresh.jsonl", "--json")
    assert judged.status in (0, 1), judged.err
    assert json.loads(judged.out)["verdicts"][0]["value"] > 0.4


@pytest.mark.slow
@pytest.mark.parametrize("method", ["top_layers", "lora", "full"])
def test_a_method_of_the_ladder_learns_to_answer(method, tmp_path, here: Here):
    shop = open_shop(tmp_path / "shop", method)
    write_jsonl(shop / "asked.jsonl", asked(900))
    said = here("run", "need.yaml", "--json")
    assert said.status in (0, 1), said.err
    report = json.loads(here("report", "--json").out)
    tried = [c for c in report["candidates"] if c["state"] == "tried"]
    assert tried, report["candidates"]
    assert tried[0]["scores"]["f1 >= 0.05"] > 0.3


def test_methods_that_read_single_texts_are_left_out_of_the_plan(tmp_path, here: Here):
    shop = open_shop(tmp_path / "shop", "overlap, head, static, zero_shot")
    said = here("plan", "need.yaml")
    assert said.status == 0, said.err
    for name in ("head", "static"):
        assert f"{name} reads each text by itself, and question_answering reads" in said.out
    assert "overlap" in said.out
    (shop / "need.yaml").write_text(NEED.replace("METHODS", "head"))
    refused(here("plan", "need.yaml"), "head reads each text by itself")
    pretrain = NEED.replace("METHODS", "overlap").replace("prefer: {", "prefer: {pretrain: mlm, ")
    (shop / "need.yaml").write_text(pretrain)
    refused(here("plan", "need.yaml"), "prefer.pretrain is mlm", "leave pretrain out")


def test_init_finds_questions_contexts_and_answers(tmp_path, here: Here):
    shop = open_shop(tmp_path / "shop", "overlap")
    (shop / "need.yaml").unlink()
    said = here("init", "asked.jsonl", "--task", "question_answering")
    assert said.status == 0, said.err
    text = (shop / "need.yaml").read_text()
    for line in ("question: question", "context: context", "label: answers", "- f1 >="):
        assert line in text
    assert here("data", "check", "need.yaml").status == 0


def test_an_answer_that_is_not_there_is_refused_with_file_and_row(tmp_path, here: Here):
    shop = open_shop(tmp_path / "shop", "overlap")
    rows = asked(40)
    rows[6]["answers"] = "never said"
    write_jsonl(shop / "asked.jsonl", rows)
    refused(here("run", "need.yaml"), "asked.jsonl, row 7", "does not stand in the context")

"""Numbers and levels: from a need to a bundle that answers, is corrected, and learns."""

import json
import random
import shlex
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from sartor.bundle import open_bundle
from sartor.models.packed import tokenise
from sartor.serve.runtime import start
from sartor.shrink.stocks._predict import Model
from sartor.tasks.text_regression.spec import TextRegression
from sartor.tasks.text_regression.train import load
from sartor.tune.batching import Tokens
from sartor.tune.scoring import score
from tests.stories.shop import Here, exported, furnished, ran, refused, write_table
from tests.stories.test_feedback import serving

_FILL = ("the", "a", "is", "was", "very", "this", "that", "and", "it", "my", "price", "please")
_STRONG = ("great", "love", "good", "fine")
NUMBERS = """name: scores
task: text_regression
data:
  train: rows.csv
  text: text
  label: score
accept:
  - spearman >= 0.50
  - mae <= 8
  - coverage >= 0.70
  - size_mb <= 5
prefer: {backbones: [./tiny], methods: [METHODS]}
"""
LEVELS = """name: levels
task: ordinal
data:
  train: rows.csv
  text: text
  label: level
  labels: [poor, fair, good]
accept:
  - quadratic_weighted_kappa >= 0.40
  - within_one >= 0.70
  - size_mb <= 5
prefer: {backbones: [./tiny], methods: [METHODS]}
"""


def rows(count: int, seed: int = 0) -> list[tuple[str, float, str]]:
    """(text, score, level): the more of some words, the higher both."""
    draw = random.Random(seed)
    found: dict[str, tuple[float, str]] = {}
    while len(found) < count:
        strong = draw.randint(0, 4)
        words = [draw.choice(_FILL) for _ in range(8 - strong)]
        for _ in range(strong):
            words.insert(draw.randint(0, len(words)), draw.choice(_STRONG))
        level = ("poor", "poor", "fair", "good", "good")[strong]
        found[" ".join(words)] = round(100 + 10 * strong + draw.uniform(-3, 3), 1), level
    return [(text, *answer) for text, answer in found.items()]


def open_shop(folder: Path, need: str, methods: str) -> Path:
    furnished(folder, need.replace("METHODS", methods))
    write_table(folder / "rows.csv", ("text", "score", "level"), rows(400))
    return folder


def test_numbers_are_learnt_served_with_intervals_corrected_and_run_again(tmp_path, here: Here):
    shop = open_shop(tmp_path / "shop", NUMBERS, "static, head")
    outcome = ran(here)
    assert [v["state"] for v in outcome["verdicts"]] == ["met"] * 4, outcome["verdicts"]
    report = json.loads(here("report", "--json").out)
    assert report["confusion"] == {}
    assert {"truth", "said", "low", "high"} == set(report["numbers"][0])
    far = [abs(float(e["answer"]) - float(e["label"])) for e in report["errors"]]
    assert far == sorted(far, reverse=True)
    page = (shop / ".sartor" / "runs" / "1" / "report.html").read_text()
    assert "answer less truth" in page

    new = "the great good price is fine and it"
    with serving(f"sartor serve {shlex.quote(outcome['bundle'])} --store-texts", shop) as client:
        model = client.get("/v1/model").json()
        assert (model["target"], model["labels"]) == ("value", [])
        reply = client.post("/v1/predict", json={"inputs": [{"text": new}]}).json()
        (answer,) = reply["outputs"]
        assert set(answer) == {"value", "low", "high", "coverage"}
        assert answer["low"] < answer["value"] < answer["high"]
        named = {"request_id": reply["request_id"]}
        wrong = client.post("/v1/feedback", json=named | {"label": "130"})
        assert (wrong.status_code, "'value'" in wrong.text) == (422, True)
        assert client.post("/v1/feedback", json=named | {"value": "130"}).status_code == 422
        taken = client.post("/v1/feedback", json=named | {"value": 130})
        assert taken.status_code == 201, taken.text
        told = client.post(
            f"/v2/models/{model['name']}/infer",
            json={"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": [new]}]},
        ).json()
        outputs = {out["name"]: out for out in told["outputs"]}
        assert outputs["values"]["data"] == [answer[end] for end in ("value", "low", "high")]
        contract = client.get("/openapi.json").json()["components"]["schemas"]
        assert contract["FeedbackBody"]["required"] == ["request_id", "value"]
        assert "coverage" in contract["Answer"]["properties"]

    heard = json.loads(here("listen", "--json").out)
    assert (heard["said"]["n"], heard["new_labels"], heard["confused"]) == (1, [], [])
    assert heard["distance"] == pytest.approx(abs(answer["value"] - 130))
    need = shop / "need.yaml"
    need.write_text(
        need.read_text().replace("  label: score\n", "  label: score\n  feedback: true\n")
    )
    again = here("run", "need.yaml", "--json")
    assert again.status in (0, 1), again.err
    assert json.loads(here("report", "--json").out)["data"]["corrections"] == 1
    fresh = shop / "fresh.jsonl"
    lines = [{"text": text, "score": score} for text, score, _ in rows(80, seed=5)]
    fresh.write_text("".join(json.dumps(line) + "\n" for line in lines))
    judged = here("judge", outcome["bundle"], "fresh.jsonl", "--json")
    assert judged.status in (0, 1), judged.err
    assert json.loads(judged.out)["verdicts"][0]["n"] > 60


def test_levels_are_learnt_in_their_declared_order(tmp_path, here: Here):
    shop = open_shop(tmp_path / "shop", LEVELS, "static, head")
    outcome = ran(here)
    assert [v["state"] for v in outcome["verdicts"]] == ["met"] * 3, outcome["verdicts"]
    report = json.loads(here("report", "--json").out)
    assert report["confusion"]["labels"] == ["poor", "fair", "good"]
    decision = open_bundle(shop / outcome["bundle"]).manifest.decision
    assert decision["rule"] in ("mode", "median", "mean", "cuts")
    need = shop / "need.yaml"
    need.write_text(need.read_text().replace("  labels: [poor, fair, good]\n", ""))
    refused(here("plan", "need.yaml"), "nothing says their order")


def test_what_is_served_is_what_was_fitted(tmp_path, here: Here):
    shop = open_shop(tmp_path / "shop", NUMBERS, "head")
    outcome = json.loads(here("run", "need.yaml", "--json").out)
    bundle = open_bundle(shop / outcome["bundle"])
    fit = shop / ".sartor" / bundle.manifest.lineage["fit"]
    texts = [text for text, _, _ in rows(60, seed=9)]
    tokenizer = Tokenizer.from_file(str(fit / "tokenizer.json"))
    logits = score(load(fit), Tokens(tokenise(tokenizer, texts, ""), 0))
    wanted = TextRegression().decode(logits, ["value"], bundle.manifest.decision)
    served = start(bundle)
    found = served.predict([{"text": text} for text in texts])
    for one, other in zip(wanted, found, strict=True):
        assert one["value"] == pytest.approx(other["value"], abs=1.5)
        assert one["high"] - one["low"] == pytest.approx(other["high"] - other["low"], abs=0.01)
    told = Model(exported(here, outcome["bundle"])).predict(texts)
    for one, other in zip(wanted, told, strict=True):
        assert {name: one[name] for name in other} == pytest.approx(other, abs=0.01)


@pytest.mark.parametrize(
    "method",
    [
        "top_layers",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("lora", "full", "bitfit")),
    ],
)
def test_a_method_of_the_ladder_learns_numbers_in_their_own_unit(method, tmp_path, here: Here):
    shop = open_shop(tmp_path / "shop", NUMBERS, method)
    need = shop / "need.yaml"
    need.write_text(need.read_text().replace("mae <= 8", "mae <= 40"))
    said = here("run", "need.yaml", "--json")
    assert said.status in (0, 1), said.err
    report = json.loads(here("report", "--json").out)
    tried = [c for c in report["candidates"] if c["state"] == "tried"]
    assert tried, report["candidates"]
    losses = [h["validation_log_loss"] for h in tried[0]["history"]]
    # Half of log 2πe is what the mean costs; a few steps of a random encoder gain little.
    assert losses[-1] < min(losses[0], 1.4189)
    # A head that had to find the unit first would be a hundred off.
    assert tried[0]["scores"]["mae <= 40"] < 13


def test_methods_of_labels_are_refused_when_planning_numbers(tmp_path, here: Here):
    open_shop(tmp_path / "shop", NUMBERS, "head, contrastive, zero_shot")
    said = here("plan", "need.yaml")
    assert said.status == 0, said.err
    assert "contrastive is for tasks of one label a row" in said.out
    assert "zero_shot reads what the labels are called" in said.out


def test_init_writes_a_need_for_each(tmp_path, here: Here):
    shop = open_shop(tmp_path / "shop", NUMBERS, "head")
    said = here("init", "rows.csv", "--task", "text_regression", "--to", "numbers.yaml")
    assert said.status == 0, said.err
    assert "numbers from" in said.out
    text = (shop / "numbers.yaml").read_text()
    assert "label: score" in text
    assert here("plan", "numbers.yaml").status == 0
    said = here("init", "rows.csv", "--task", "ordinal", "--to", "levels.yaml")
    assert said.status == 0, said.err
    text = (shop / "levels.yaml").read_text()
    assert "labels: [fair, good, poor]   # put them in order" in text
    assert "quadratic_weighted_kappa" in text

"""`sartor models`, and the order in which a run tries backbones."""

import json
from pathlib import Path
from typing import Any

import pytest

from sartor.search import choosing
from sartor.search.ranking import Sample, draw_sample
from tests.stories.shop import NEED, Here, refused, reviews, write_csv
from tests.stories.test_columns import NEED as COLUMNS
from tests.stories.test_columns import write_cases
from tests.tiny import make_tiny_bert


def need_of(shop: Path, backbones: str) -> None:
    (shop / "need.yaml").write_text(NEED.replace("[./tiny]", backbones))


def test_backbones_named_on_the_line_are_ranked_with_their_costs(new_shop: Path, here: Here):
    make_tiny_bert(new_shop / "other", seed=9, layers=3)
    said = here(
        "models", "rank", "need.yaml", "--json", "--backbones", "./tiny", "./tiny@1", "./other"
    )
    assert said.status == 0, said.err
    found = json.loads(said.out)
    ranked = {entry["standing"]["name"]: entry for entry in found["ranked"]}
    assert set(ranked) == {"./tiny", "./tiny@1", "./other"}
    assert {c["name"] for c in found["controls"]} == {"./tiny@random", "./other@random"}
    assert found["biggest"] == "./other"
    assert ranked["./tiny@1"]["parameters"] < ranked["./tiny"]["parameters"]
    for entry in ranked.values():
        standing = entry["standing"]
        assert standing["logme"]["low"] < standing["logme"]["value"] < standing["logme"]["high"]
        assert 0 <= standing["knn"]["value"] <= 1
        assert entry["size_mb"]["low"] < entry["size_mb"]["high"]
        assert standing["seconds"] > 0

    again = here("models", "rank", "need.yaml", "./tiny", "./tiny@1", "./other")
    assert again.status == 0
    assert f"Take {found['recommended']}" in again.out
    assert " encode " not in again.err, "what was encoded for the first ranking is read again"


def test_one_backbone_is_set_beside_its_random_twin(new_shop: Path, here: Here):
    said = here("models", "rank", "need.yaml", "--backbones", "./tiny")
    assert said.status == 0, said.err
    assert "nothing to compare it with" in said.out
    assert "./tiny@random" in said.out


def test_columns_beside_a_text_have_no_say_and_columns_alone_are_refused(
    new_shop: Path, here: Here, monkeypatch: pytest.MonkeyPatch
):
    ranked: list[Sample] = []

    def draw(*of: Any) -> Sample:
        ranked.append(draw_sample(*of))
        return ranked[-1]

    monkeypatch.setattr(choosing, "draw_sample", draw)
    write_cases(new_shop / "credit.csv")
    (new_shop / "need.yaml").write_text(COLUMNS.replace("  label:", "  text: note\n  label:"))
    said = here("models", "rank", "need.yaml", "--json", "--backbones", "./tiny", "./tiny@1")
    assert said.status == 0, said.err
    (sample,) = ranked
    assert all(isinstance(text, str) and text.startswith("the order was") for text in sample.texts)

    (new_shop / "need.yaml").write_text(COLUMNS)
    refused(here("models", "rank", "need.yaml"), "columns alone", "data.text")


def test_a_need_without_a_choice_ranks_the_first_layers_too(new_shop: Path, here: Here):
    said = here("models", "rank", "need.yaml", "--json", "--backbones", "./tiny", "--rows", "64")
    assert json.loads(said.out)["rows"] == 64
    need_of(new_shop, "[./tiny, ./tiny@1]")
    said = here("models", "rank", "need.yaml", "--json", "--rows", "64")
    assert {e["standing"]["name"] for e in json.loads(said.out)["ranked"]} == {"./tiny", "./tiny@1"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["need.yaml", "--backbones", "minilmm"], ["minilmm", "minilm"]),
        (["need.yaml", "--backbones", "./tiny@2"], ["./tiny@2", "2 layers", "from 1 to 1"]),
        (["need.yaml", "--backbones", "./none"], ["none"]),
        (["none.yaml"], ["none.yaml"]),
        (["need.yaml", "--backbones", "./tiny", "--rows", "3"], ["3 rows", "32"]),
    ],
)
def test_what_cannot_be_ranked_is_refused(
    new_shop: Path, here: Here, words: list[str], expected: list[str]
):
    refused(here("models", "rank", *words, "--quiet"), *expected)


def test_a_need_with_faults_and_data_with_too_few_rows_are_refused(new_shop: Path, here: Here):
    (new_shop / "need.yaml").write_text(NEED.replace("lable", "label").replace("accept", "acept"))
    refused(here("models", "rank", "need.yaml"), "acept", "accept")
    (new_shop / "need.yaml").write_text(NEED)
    write_csv(new_shop / "reviews.csv", reviews(30))
    refused(here("models", "rank", "need.yaml", "--quiet", "./tiny"), "too few to rank")


def test_a_run_tries_backbones_in_the_order_of_their_ranking_and_keeps_it_on_resume(
    new_shop: Path, here: Here
):
    # One that reads every word as unknown, and so tells nothing apart, is named first.
    blind = make_tiny_bert(new_shop / "blind", seed=5)
    tokenizer = json.loads((blind / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    tokenizer["model"]["vocab"] = {w: i for w, i in vocabulary.items() if w.startswith("[")}
    (blind / "tokenizer.json").write_text(json.dumps(tokenizer))
    need_of(new_shop, "[./blind, ./tiny]")

    planned = here("plan", "need.yaml", "--json")
    assert planned.status == 0, planned.err
    heads = [r["label"] for r in json.loads(planned.out)["plan"] if r["rung"] == "head"]
    assert heads == ["./tiny", "./blind"]

    ran = here("run", "need.yaml", "--method", "head", "--json")
    assert ran.status == 0, ran.err
    folder = new_shop / ".sartor" / "runs" / "1"
    facts = json.loads((folder / "facts.json").read_text())
    assert facts["backbones"]["order"] == ["./tiny", "./blind"]

    # A resumed run does not rank again: what was recorded holds.
    facts["backbones"]["order"].reverse()
    facts["backbones"]["warnings"] = ["said once"]
    (folder / "facts.json").write_text(json.dumps(facts))
    (folder / "result.json").unlink()
    resumed = here("resume", "1", "--json")
    assert "said once" in resumed.err
    report = json.loads(here("report", "1", "--json").out)
    assert [r["label"] for r in report["plan"]] == ["./blind", "./tiny"]


def test_a_plan_warns_of_texts_that_are_far_from_the_backbone(new_shop: Path, here: Here):
    table = str.maketrans("abcdefghijklmnopqrstuvwxyz", "αβγδεζηθικλμνξοπρστυφχψωάέ")
    write_csv(new_shop / "reviews.csv", [(t.translate(table), y) for t, y in reviews(120)])
    said = here("plan", "need.yaml", "--json")
    assert said.status == 0, said.err
    assert "far from what ./tiny was trained on" in said.err
    assert "far from what ./tiny was trained on" in json.loads(said.out)["why"]


def test_the_first_layers_are_tuned_and_bundled_as_a_model_of_their_own(new_shop: Path, here: Here):
    need_of(new_shop, "[./tiny@1]")
    ran = here("run", "need.yaml", "--method", "full", "--json")
    assert ran.status in (0, 1), ran.err
    manifest = json.loads((new_shop / json.loads(ran.out)["bundle"] / "manifest.json").read_text())
    assert manifest["lineage"]["backbone"] == "./tiny@1"
    fitted = [json.loads(f.read_text()) for f in new_shop.glob(".sartor/fits/*/fitted/config.json")]
    assert fitted
    assert {config["num_hidden_layers"] for config in fitted} == {1}


def test_the_models_at_hand_are_listed(new_shop: Path, here: Here):
    said = here("models", "list", "--json")
    assert said.status == 0, said.err
    for model in json.loads(said.out):
        assert model["layers"] > 0
        assert model["parameters"] > 1_000_000

"""From unlabelled texts to a bundle: pretrained, compared, and taken only where it helps."""

import json
from pathlib import Path

import pytest
import torch

from sartor.bundle import open_bundle
from sartor.search import pretraining
from sartor.search.pretraining import Gain
from tests.stories.shop import NEED, Here, refused, reviews, write_csv

ASKS = NEED.replace("  label: label\n", "  label: label\n  unlabelled: more.csv\n").replace(
    "./tiny]", "./tiny], methods: [head], pretrain: simcse"
)


@pytest.fixture
def fuller_shop(new_shop: Path) -> Path:
    write_csv(new_shop / "more.csv", reviews(200, seed=9))
    (new_shop / "need.yaml").write_text(ASKS)
    return new_shop


def gain(low: float) -> Gain:
    return Gain(low + 0.01, low, low + 0.02, (0.8, 0.9), 60)


@pytest.mark.parametrize(("low", "backbone"), [(0.01, "./tiny+simcse"), (-0.01, "./tiny")])
def test_the_pretrained_backbone_is_taken_where_it_is_shown_to_help(
    fuller_shop: Path, here: Here, monkeypatch: pytest.MonkeyPatch, low: float, backbone: str
):
    monkeypatch.setattr(pretraining, "compare", lambda *_: gain(low))
    said = here("run", "need.yaml", "--json")
    assert said.status in (0, 1), said.err
    bundle = open_bundle(fuller_shop / json.loads(said.out)["bundle"])
    assert bundle.manifest.lineage["backbone"] == backbone
    assert ("taken" if low > 0 else "not shown to help") in said.err
    assert "unlabelled texts to pretrain on" in said.err
    again = here("run", "need.yaml", "--json")
    assert json.loads(again.out)["bundle"] == json.loads(said.out)["bundle"]


def test_a_run_compares_frozen_heads_and_says_what_it_found(fuller_shop: Path, here: Here):
    said = here("run", "need.yaml", "--json")
    assert said.status in (0, 1), said.err
    assert "frozen heads save" in said.err
    facts = json.loads((fuller_shop / ".sartor" / "runs" / "1" / "facts.json").read_text())
    bundle = open_bundle(fuller_shop / json.loads(said.out)["bundle"])
    used = facts["pretrained"]["used"]
    assert bundle.manifest.lineage["backbone"] == ("./tiny+simcse" if used else "./tiny")


@pytest.mark.parametrize("stage", ["sartor.tune.pretrain.train", "sartor.search.pretraining.grid"])
def test_a_lack_of_memory_ends_the_pretraining_and_not_the_run(
    fuller_shop: Path, here: Here, monkeypatch: pytest.MonkeyPatch, stage: str
):
    monkeypatch.setattr(stage, lambda *_: torch.empty(1 << 58))
    said = here("run", "need.yaml", "--json")
    assert said.status in (0, 1), said.err
    assert "Pretraining failed: out of memory" in said.err
    bundle = open_bundle(fuller_shop / json.loads(said.out)["bundle"])
    assert bundle.manifest.lineage["backbone"] == "./tiny"


def test_an_unknown_pretext_task_is_refused_before_anything_is_read(fuller_shop: Path, here: Here):
    (fuller_shop / "need.yaml").write_text(ASKS.replace("simcse", "simsce"))
    refused(here("run", "need.yaml"), "No pretext task is called 'simsce'", "simcse")


def test_unlabelled_texts_that_nothing_reads_are_told_of(fuller_shop: Path, here: Here):
    need = ASKS.replace("simcse", "none")
    (fuller_shop / "need.yaml").write_text(need)
    said = here("plan", "need.yaml")
    assert "data.unlabelled is not read" not in said.err + said.out, "smaller models may read it"
    (fuller_shop / "need.yaml").write_text(need.replace("  - size_mb <= 5\n", ""))
    said = here("plan", "need.yaml")
    assert "data.unlabelled is not read" in said.err + said.out


def test_a_missing_file_of_unlabelled_texts_is_refused(fuller_shop: Path, here: Here):
    (fuller_shop / "more.csv").unlink()
    refused(here("run", "need.yaml"), "more.csv")

"""Compressors that train, and those of graphs, on a model that answers with a number."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from sartor.core.errors import NothingToShrink
from sartor.core.events import silent
from sartor.core.types import Candidate
from sartor.search.retraining import Retraining
from sartor.serve.graph import Graph
from sartor.serve.reading import Reader
from sartor.serve.session import Session
from sartor.shrink.api import COMPRESSORS, GRAPH, TOKENIZER, Bench, Form
from sartor.shrink.export import to_onnx
from sartor.shrink.parity import of_numbers
from sartor.tasks.text_regression.train import load
from sartor.testing.workbench import LENGTH, rows
from sartor.tune.fit import TuneOptions, Tuner
from tests.tune.killed import NoFeatures, tiny_backbone

TASK, OUTPUTS = "text_regression", ("value",)
PRAISE = ("good", "great", "love", "fine", "works", "quick")
LEARNS = {"epochs": 10, "lr": 3e-3, "head_lr": 3e-3, "batch_rows": 16, "patience": 99}


def scored(count, seed):
    """The share of praise in a text, in a unit far from 1."""
    found = rows(count, seed)
    words = [text.split() for text in found.texts]
    shares = [sum(word in PRAISE for word in each) / len(each) for each in words]
    return replace(found, target=tuple(500.0 + 1000 * share for share in shares))


TRAIN, HELD = scored(240, 1), scored(60, 2)
TRUTH = np.array(HELD.target)


def numbers(form, texts):
    tokenizer = Tokenizer.from_file(str(form.tokenizer))
    tokenizer.no_padding()
    tokenizer.enable_truncation(LENGTH)
    reader = Reader(tokenizer, whole=None, prefix="", windows=None, room=LENGTH, pad=0)
    return Graph(Session.open(form.graph, 1), reader, len(OUTPUTS)).logits(texts)


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> tuple[Form, Bench]:
    place: Path = tmp_path_factory.mktemp("numbers")
    backbone = tiny_backbone(place / "tiny")
    options = TuneOptions(task=TASK, max_length=LENGTH)
    tuner = Tuner({"tiny": backbone}, lambda _: NoFeatures(), place / "fits", OUTPUTS, options)
    candidate = Candidate("tiny", backbone.sha256, "full", LEARNS, 1)
    fitted = tuner(candidate, TRAIN, HELD, silent)
    to_onnx(fitted.folder, TASK, place / GRAPH)
    form = Form(place / GRAPH, fitted.folder / TOKENIZER, fitted.folder)
    retrain = Retraining(tuner, TRAIN, HELD, "", LENGTH, 1, silent)
    made = Bench(
        task=TASK,
        outputs=OUTPUTS,
        max_length=LENGTH,
        prefix="",
        train=TRAIN,
        validation=HELD,
        answers=numbers,
        retrain=retrain,
        seed=1,
        emit=silent,
    )
    return form, made


def error(form):
    return float(np.abs(numbers(form, HELD.texts)[:, 0] - TRUTH).mean())


def test_a_fit_answers_in_the_numbers_own_unit(bench):
    form, _ = bench
    assert error(form) < 0.75 * np.abs(TRUTH - TRUTH.mean()).mean()
    assert set(load(form.fit).head.shape()) == set()


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("int8_rows", {}),
        ("int8_dynamic", {}),
        ("drop_layers", {"epochs": 4, "lr": 3e-3}),
        pytest.param("prune_heads", {"epochs": 2, "lr": 2e-3}, marks=pytest.mark.slow),
        pytest.param("distil", {"epochs": 6, "lr": 3e-3}, marks=pytest.mark.slow),
    ],
)
def test_a_compressed_number_is_still_near_the_truth(name, settings, bench, tmp_path):
    form, made = bench
    (tmp_path / name).mkdir()
    COMPRESSORS.get(name)(**settings).compress(form, tmp_path / name, made)
    small = form.left_in(tmp_path / name)
    assert error(small) < 0.9 * np.abs(TRUTH - TRUTH.mean()).mean()


def test_a_table_of_label_scores_is_refused(bench, tmp_path):
    form, made = bench
    with pytest.raises(NothingToShrink, match="one label a row"):
        COMPRESSORS.get("static_student")().compress(form, tmp_path, made)


def said(values):
    return [{"value": None if np.isnan(v) else float(v)} for v in values]


def test_parity_of_numbers_is_the_growth_of_the_error():
    rng = np.random.default_rng(0)
    truth = rng.normal(100, 20, 400)
    whole = truth + rng.normal(0, 8, 400)
    same = of_numbers(said(whole), said(whole + 1e-3), truth, 0.02)
    assert same.holds
    assert same.agreement == 1.0
    assert abs(same.drop) < 1e-3
    moved = whole + rng.normal(0, 20, 400)
    worse = of_numbers(said(whole), said(moved), truth, 0.02)
    assert not worse.holds
    grown = np.abs(moved - truth).mean() - np.abs(whole - truth).mean()
    assert worse.drop == pytest.approx(grown / truth.std())
    assert "answers close" in worse.sentence()
    silent_row = of_numbers(said(whole), said([np.nan, *whole[1:]]), truth, 0.02)
    assert silent_row.holds


@pytest.mark.parametrize("rows_", [60, 400])
def test_the_upper_end_lies_above_the_growth_in_19_of_20(rows_):
    rng, covered = np.random.default_rng(1), 0
    for _ in range(400):
        truth = rng.normal(0, 1, rows_)
        before, after = rng.normal(0, 0.5, rows_), rng.normal(0, 0.55, rows_)
        found = of_numbers(said(truth + before), said(truth + after), truth, 0.0)
        grown = 0.05 * np.sqrt(2 / np.pi) / truth.std()
        covered += found.drop_high >= grown
    assert covered >= 0.92 * 400

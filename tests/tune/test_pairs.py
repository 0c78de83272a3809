"""Fits on pairs: what is saved, exported and served says what the fit said."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from tokenizers import Tokenizer

from sartor.core.errors import NothingToShrink
from sartor.core.events import silent
from sartor.core.types import Backbone, Candidate, Examples
from sartor.models.encode import EncodeSettings, TextEncoder
from sartor.models.precision import Precision
from sartor.search.estimates import Work
from sartor.search.feasible import Sieve
from sartor.search.rungs import Aim, build_rungs, method_order, obstacles
from sartor.serve.graph import Graph
from sartor.serve.reading import Reader
from sartor.serve.session import Session
from sartor.shrink.api import COMPRESSORS, GRAPH, TOKENIZER, Bench, Form
from sartor.shrink.export import to_onnx
from sartor.shrink.merge import merge_graphs
from sartor.shrink.students import Whole
from sartor.tasks.text_pair.train import load
from sartor.tune.fit import TuneOptions, Tuner
from sartor.tune.similarity import fit_threshold
from tests.tiny import WORDS
from tests.tune.killed import tiny_backbone

OUTPUTS = ["different", "same"]
LENGTH = 64
LOOP = {"epochs": 6, "lr": 5e-3, "batch_rows": 16}
FITS: dict[str, tuple[str, dict[str, Any]]] = {
    "head": ("head", {"layers": [1, -1], "C": 0.1}),
    "symmetric head": ("head", {"layers": [-1], "C": 0.1, "symmetric": True}),
    "hidden head": ("head", {"layers": [-1], "hidden": 8, "C": 1.0}),
    "static": ("static", {"strength": 0.1}),
    "symmetric static": ("static", {"strength": 0.1, "symmetric": True}),
    "zero_shot": ("zero_shot", {"layers": [-1]}),
    "lora": ("lora", LOOP),
    "top_layers": ("top_layers", {"top": 1, "head_lr": 1e-2, **LOOP}),
    "full": ("full", {"head_lr": 5e-3, **LOOP}),
}
QUICK = ("head", "static", "lora", "top_layers")
"""Exported in every run of the tests; an export takes seconds."""
APART = ("head", "symmetric head", "hidden head", "static", "symmetric static", "zero_shot")


_SAID = WORDS[:28]
"""The others are never used, so that a vocabulary has something to lose."""


def pairs(count: int, seed: int) -> Examples:
    """Half of the rows say the same words in another order; the others, other words."""
    draw = random.Random(seed)
    one, other, target = [], [], []
    for _ in range(count):
        words = draw.sample(_SAID, draw.choice((3, 4, 6, 9)))
        label = draw.choice(OUTPUTS)
        others = draw.sample(words, len(words)) if label == "same" else draw.sample(_SAID, 4)
        one.append(" ".join(words))
        other.append(" ".join(others))
        target.append(label)
    ids = tuple(f"{seed}-{i}" for i in range(count))
    return Examples(ids, {"text": tuple(one), "text_pair": tuple(other)}, tuple(target))


TRAIN, HELD = pairs(160, 1), pairs(60, 2)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return tiny_backbone(tmp_path_factory.mktemp("backbone") / "tiny")


@pytest.fixture(scope="module")
def tuner(backbone: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Tuner:
    settings = EncodeSettings(max_length=LENGTH)
    source = TextEncoder(backbone, None, precision=Precision(), settings=settings)
    options = TuneOptions(task="text_pair", max_length=LENGTH, scored_train_rows=20)
    work = tmp_path_factory.mktemp("work")
    return Tuner({"tiny": backbone}, lambda _: source, work, OUTPUTS, options)


def candidate(name: str) -> Candidate:
    method, settings = FITS[name]
    return Candidate("tiny", "0" * 64, method, settings, seed=1)


def served(form: Form) -> Graph:
    tokenizer = Tokenizer.from_file(str(form.tokenizer))
    tokenizer.no_padding()
    tokenizer.enable_truncation(LENGTH)
    reader = Reader(tokenizer, whole=None, prefix="", windows=None, room=LENGTH, pad=0)
    return Graph(Session.open(form.graph, 1), reader, len(OUTPUTS))


@pytest.fixture(scope="module")
def forms(tuner: Tuner, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A fit by its name, exported once."""
    made: dict[str, tuple[Form, np.ndarray]] = {}

    def form(name: str) -> tuple[Form, np.ndarray]:
        if name not in made:
            fitted = tuner(candidate(name), TRAIN, HELD, silent)
            graph = tmp_path_factory.mktemp("graph") / GRAPH
            to_onnx(fitted.folder, "text_pair", graph)
            found = Form(graph, fitted.folder / TOKENIZER, fitted.folder)
            made[name] = found, fitted.validation_logits
        return made[name]

    return form


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FITS]
)
def test_the_served_graph_answers_pairs_as_the_fit_did(forms, name):
    form, said = forms(name)
    graph = served(form)
    assert graph.session.apart is (name in APART)
    inputs = {given.name for given in onnxruntime.InferenceSession(form.graph).get_inputs()}
    apart = {"other_ids", "other_mask"} if name in APART else set()
    assert inputs == {"input_ids", "attention_mask"} | apart
    # Cached activations are rounded to half precision.
    np.testing.assert_allclose(graph.logits(HELD.texts), said, atol=1e-2)


@pytest.mark.parametrize("name", ["head", "symmetric head", "symmetric static", "zero_shot"])
def test_a_fit_on_activations_learns_to_tell_the_same_from_the_different(forms, name):
    _, said = forms(name)
    truth = np.array([OUTPUTS.index(label) for label in HELD.target])
    assert (said.argmax(1) == truth).mean() > 0.75


def test_the_cut_of_a_long_pair_leaves_something_of_both_texts(forms):
    form, _ = forms("lora")
    reader = served(form).reader
    (piece,) = reader.read([("good " * 500, "bad refund")]).pieces
    tokens = [reader.tokenizer.id_to_token(i) for i in piece]
    assert len(piece) == LENGTH
    assert tokens[-3:] == ["bad", "refund", "[SEP]"]
    (piece,) = reader.read([("good " * 500, "bad " * 500)]).pieces
    tokens = [reader.tokenizer.id_to_token(i) for i in piece]
    assert abs(tokens.count("good") - tokens.count("bad")) <= 1


def test_heads_of_both_orders_are_fitted_together_and_each_as_alone(tuner):
    names = ["head", "symmetric head", "hidden head"]
    together = tuner.heads([candidate(name) for name in names], TRAIN, HELD)
    for name, found in zip(names, together, strict=True):
        (alone,) = tuner.heads([candidate(name)], TRAIN, HELD)
        np.testing.assert_allclose(found.validation_logits, alone.validation_logits, atol=1e-3)


def bench() -> Bench:
    return Bench(
        task="text_pair",
        outputs=tuple(OUTPUTS),
        max_length=LENGTH,
        prefix="",
        train=TRAIN,
        validation=HELD,
        answers=lambda form, texts: served(form).logits(texts),
        retrain=None,
        seed=0,
        emit=silent,
    )


@pytest.mark.parametrize("name", ["head", "lora"])
@pytest.mark.parametrize(
    ("compressor", "settings"),
    [("int8_dynamic", {}), ("int8_static", {}), ("trim_vocabulary", {"spare": 0.0})],
)
def test_a_graph_of_pairs_is_made_smaller(forms, tmp_path, name, compressor, settings):
    form, said = forms(name)
    COMPRESSORS.get(compressor)(**settings).compress(form, tmp_path, bench())
    left = form.left_in(tmp_path)
    assert left.graph.stat().st_size < form.graph.stat().st_size
    exact = compressor == "trim_vocabulary"
    found = served(left).logits(HELD.texts)
    agree = (found.argmax(1) == said.argmax(1)).mean()
    assert agree == 1 if exact else agree > 0.9


def test_two_heads_that_read_apart_are_one_graph(forms, tmp_path):
    (one, said), (other, told) = forms("head"), forms("symmetric head")
    merge_graphs([(one.graph, 0.5), (other.graph, 2.0)], tmp_path / GRAPH)
    found = served(Form(tmp_path / GRAPH, one.tokenizer)).logits(HELD.texts)
    np.testing.assert_allclose(found, 0.5 * said + 2.0 * told, atol=3e-2)


def test_a_student_of_a_model_that_reads_apart_is_refused_with_its_reason(forms):
    form, _ = forms("head")
    with pytest.raises(NothingToShrink, match="PairClassifier"):
        Whole.read("drop_layers", form, bench())


def test_the_ladder_of_pairs_is_the_usual_one_without_what_cannot_compare_two_texts(backbone):
    sieve = Sieve((), obstacles("text_pair", OUTPUTS, {}))
    work = Work(100, 100, 0, 10.0, 10.0, 1 << 30)
    rungs, dropped = build_rungs(
        [backbone], method_order(None), Aim("text_pair", 0, sieve), lambda *_: work
    )
    assert [rung.name for rung in rungs] == method_order(None)
    assert not dropped
    head = next(rung for rung in rungs if rung.name == "head")
    assert {c.settings["symmetric"] for c in head.candidates} == {True, False}
    three = Sieve((), obstacles("text_pair", ["a", "b", "c"], {}))
    _, dropped = build_rungs([backbone], ["zero_shot"], Aim("text_pair", 0, three), lambda *_: work)
    assert "two labels" in dropped[0].why


def test_the_threshold_is_where_a_logistic_regression_puts_it():
    rng = np.random.default_rng(0)
    labels = (rng.random(500) < 0.4).astype(np.int64)
    alike = rng.normal(size=500).astype(np.float32) * 0.2 + 0.3 * labels
    slope, offset = fit_threshold(alike, labels)
    from sklearn.linear_model import LogisticRegression

    theirs = LogisticRegression(C=2.0 / (1e-3 * 500) / 2, tol=1e-8).fit(alike[:, None], labels)
    assert slope == pytest.approx(theirs.coef_[0, 0], rel=0.02)
    assert offset == pytest.approx(theirs.intercept_[0], rel=0.02)
    turned, _ = fit_threshold(alike, 1 - labels)
    assert turned < 0 < slope


def test_a_saved_fit_says_how_it_reads(forms):
    for name in ("head", "lora"):
        form, _ = forms(name)
        assert form.fit is not None
        assert hasattr(load(Path(form.fit)), "symmetric") is (name == "head")

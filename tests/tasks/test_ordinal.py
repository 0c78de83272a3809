"""Levels: their order, and which one is said of what is known of them."""

import numpy as np
import pytest

from sartor.core.errors import DataError
from sartor.core.types import Examples
from sartor.need.grammar import parse_criterion
from sartor.tasks._decision.logits import softmax
from sartor.tasks.ordinal.settling import decide, fit_cuts, fit_rule
from sartor.tasks.ordinal.spec import Ordinal


def examples(*levels):
    ids = tuple(map(str, range(len(levels))))
    return Examples(ids, {"text": ids}, levels)


def test_numbers_are_levels_in_their_order_and_words_need_one_that_is_declared():
    assert Ordinal().outputs(examples("10", "9", "-1", "10"), None) == ["-1", "9", "10"]
    assert Ordinal().outputs(examples("b", "a"), ["b", "a"]) == ["b", "a"]
    with pytest.raises(DataError, match="nothing says their order") as caught:
        Ordinal().outputs(examples("low", "high", "3"), None)
    assert "data.labels" in caught.value.fix


def test_each_rule_says_what_is_best_for_its_loss():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(5), 300)
    level = np.arange(5)
    off = np.abs(level[:, None] - level)
    assert (decide(p, "mode") == p.argmax(1)).all()
    risk = p @ off
    chosen = decide(p, "median")
    np.testing.assert_allclose(risk[np.arange(300), chosen], risk.min(1))
    risk = p @ off**2
    chosen = decide(p, "mean")
    np.testing.assert_allclose(risk[np.arange(300), chosen], risk.min(1))
    assert (decide(p, "cuts", [0.5, 1.5, 2.5, 3.5]) == decide(p, "mean")).mean() > 0.99
    sure = np.eye(5)
    for rule in ("mode", "median", "mean"):
        assert decide(sure, rule).tolist() == [0, 1, 2, 3, 4]


def test_cuts_are_found_where_the_model_leans_to_one_side():
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 4, 600)
    # A model that places every row 0.4 too low, with some noise.
    place = np.clip(truth - 0.4 + rng.normal(0, 0.15, 600), 0, 3)
    low = np.floor(place).astype(int).clip(0, 2)
    p = np.zeros((600, 4))
    p[np.arange(600), low + 1] = place - low
    p[np.arange(600), low] = 1 - (place - low)
    rule, cuts = fit_rule(p, truth, "quadratic_weighted_kappa")
    assert rule == "cuts"
    assert np.diff(cuts).min() > 0
    assert (decide(p, rule, cuts) == truth).mean() > (decide(p, "mean") == truth).mean() + 0.1


def test_a_calibrated_model_keeps_the_plain_rule():
    rng = np.random.default_rng(2)
    p = rng.dirichlet(np.ones(4), 800)
    truth = (p.cumsum(1) < rng.random((800, 1))).sum(1).clip(0, 3)
    for aim, rule in (("accuracy", "mode"), ("mae", "median")):
        assert fit_rule(p, truth, aim)[0] in (rule, "mean")
    cuts = fit_cuts(p, truth, "quadratic_weighted_kappa")
    assert np.diff(cuts).min() > 0


def test_the_first_criterion_on_levels_decides_and_one_on_a_level_brings_weights():
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 3, 90)
    logits = (3.0 * np.eye(3)[truth] + rng.normal(0, 1.5, (90, 3))).astype(np.float32)
    rows = examples(*(str(level) for level in truth))
    outputs = ["0", "1", "2"]

    def settled(*texts):
        return Ordinal().settle(logits, rows, outputs, [parse_criterion(t) for t in texts])

    assert settled("accuracy >= 0.5", "mae <= 1")["rule"] == "mode"
    weighted = settled("recall[label=2] >= 0.95", "quadratic_weighted_kappa >= 0.2")
    assert weighted["rule"] == "mode"
    assert weighted["weights"]["2"] >= 1.0
    decision = settled()
    answers = Ordinal().decode(logits, outputs, decision)
    assert [a["best"] for a in answers] == [
        outputs[i]
        for i in decide(
            softmax(logits / decision["temperature"]), decision["rule"], decision.get("cuts", ())
        )
    ]

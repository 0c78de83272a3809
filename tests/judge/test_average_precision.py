"""Of many rows it is told by what each moves it by: the same value, nearly the same interval."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from sartor.judge.average_precision import _by_influence, _by_ranks, mean_average_precision
from sartor.judge.intervals import bootstrap
from sartor.judge.verdicts import judge
from tests.judge.rows import criteria, subject

seeds = st.integers(0, 2**31)


def drawn(rows, seed, share=0.2, values=50, labels=1):
    """Marks, and probabilities that tell something of them; few values, so that many tie."""
    rng = np.random.default_rng(seed)
    truth = rng.random((rows, labels)) < share
    truth[0] = True
    stated = np.round((rng.normal(truth * 1.0, 1.0) + 4) / 8 * values) / values
    return stated, truth


@settings(max_examples=40, deadline=None)
@given(seeds, st.sampled_from([3, 50]), st.integers(1, 3))
def test_both_ways_have_the_value_of_scikit_learn(seed, values, labels):
    stated, truth = drawn(200, seed, values=values, labels=labels)
    wanted = average_precision_score(truth, stated)
    assert _by_ranks(stated, truth).observed == pytest.approx(wanted)
    assert _by_influence(stated, truth).observed == pytest.approx(wanted)


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_what_a_row_moves_is_the_slope_by_its_weight(seed):
    stated, truth = drawn(60, seed, values=8)
    by_row, step = _by_influence(stated, truth), 1e-6
    for row in range(0, 60, 7):
        weights = np.ones(60)
        weights[row] += step
        after = average_precision_score(truth[:, 0], stated[:, 0], sample_weight=weights)
        slope = (after - by_row.observed) / step
        assert by_row.kinds[row, 0] / 60 == pytest.approx(slope, abs=1e-4)


@pytest.mark.parametrize("share", [0.02, 0.2, 0.7])
def test_the_intervals_are_nearly_the_same(share):
    stated, truth = drawn(3000, 7, share)
    low, high = bootstrap(_by_ranks(stated, truth), 0.05, 0)
    near_low, near_high = bootstrap(_by_influence(stated, truth), 0.05, 0)
    width = high - low
    assert abs(near_low - low) < 0.15 * width
    assert abs(near_high - high) < 0.15 * width


def test_many_rows_are_judged():
    stated, truth = drawn(6000, 1, labels=2)
    statistic = mean_average_precision(stated, truth)
    assert statistic.kinds.shape == (6000, 2)
    assert statistic.n == 6000


@pytest.mark.parametrize("rows", [50, 5000])
def test_without_a_row_that_has_the_label_nothing_is_proven(rows):
    statistic = mean_average_precision(np.full((rows, 1), 0.5), np.zeros((rows, 1), bool))
    assert statistic.n == 0


def test_a_slice_without_the_label_is_unproven():
    """Neither met nor unmet: no row says anything of it."""
    truth, regions = ["a"] * 40 + ["b"] * 40, ["north"] * 40 + ["south"] * 40
    stated = np.full((80, 2), 0.5)
    found = subject(truth, truth, probabilities=stated, extra={"region": regions})
    (verdict,) = judge(criteria('pr_auc[label=b, where: region == "north"] >= 0.4'), found)
    assert verdict.state == "unproven"
    assert verdict.n == 0

"""AUC is scikit-learn's, and its interval has the width that DeLong's variance says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from sartor.judge.checks.auc import Auc, ranking
from sartor.judge.intervals import interval
from sartor.judge.verdicts import judge
from tests.judge.rows import criteria, subject

quick = settings(max_examples=80, deadline=None)
# Few values, so that many rows tie.
scores = st.lists(st.tuples(st.booleans(), st.integers(0, 8)), min_size=2, max_size=60)


@quick
@given(scores)
def test_auc_is_scikit_learns_ties_included(rows):
    truth, score = (np.array(column) for column in zip(*rows, strict=True))
    found = ranking(score.astype(float), truth)
    if truth.all() or not truth.any():
        assert found.n == 0
    else:
        assert found.observed == pytest.approx(roc_auc_score(truth, score))
        assert found.n == len(rows)


@quick
@given(st.integers(10, 80), st.integers(0, 2**31))
def test_of_two_labels_either_gives_the_same_and_of_three_each_its_own(count, seed):
    rng = np.random.default_rng(seed)
    two = [*"ab", *rng.choice(["a", "b"], count)]
    stated = rng.dirichlet(np.ones(2), len(two))
    found = subject(two, two, probabilities=stated)
    theirs = roc_auc_score([label == "b" for label in two], stated[:, 1])
    for text in ("auc >= 0.5", "auc[label=a] >= 0.5", "auc[label=b] >= 0.5"):
        assert Auc().parts(criteria(text)[0], found)[0].statistic.observed == pytest.approx(theirs)
    three = [*"abc", *rng.choice(["a", "b", "c"], count)]
    stated = rng.dirichlet(np.ones(3), len(three))
    found = subject(three, three, probabilities=stated)
    theirs = roc_auc_score([label == "c" for label in three], stated[:, 2])
    (part,) = Auc().parts(criteria("auc[label=c] >= 0.5")[0], found)
    assert part.statistic.observed == pytest.approx(theirs)


def delong(score, truth):
    """Variance of the AUC by its definition: all pairs, then the variance of their means."""
    up, down = score[truth], score[~truth]
    wins = (up[:, None] > down[None]) + 0.5 * (up[:, None] == down[None])
    return wins.mean(1).var(ddof=1) / len(up) + wins.mean(0).var(ddof=1) / len(down)


@pytest.mark.parametrize("apart", [0.3, 1.0, 1.8])
def test_the_interval_is_as_wide_as_delongs(apart):
    rng = np.random.default_rng(int(10 * apart))
    truth = rng.random(400) < 0.3
    score = rng.normal(size=400) + apart * truth
    found = ranking(score, truth)
    low, high = interval(found, 0.05, 0)
    width = 2 * 1.96 * np.sqrt(delong(score, truth))
    assert width < high - low < 1.25 * width  # widened by a pseudo-row
    assert low < found.observed < high


def test_a_faultless_ranking_of_few_rows_proves_little():
    truth = np.array([True] * 12 + [False] * 12)
    low, high = interval(ranking(truth.astype(float), truth), 0.05, 0)
    assert high == 1
    assert 0.6 < low < 0.95


def test_a_verdict_on_auc_is_met_where_the_rows_show_it():
    rng = np.random.default_rng(3)
    truth = rng.choice(["same", "different"], 300)
    right = np.clip(0.5 + 0.35 * rng.normal(size=300) + 0.6 * (truth == "same") - 0.3, 0.01, 0.99)
    found = subject(list(truth), list(truth), probabilities=np.column_stack([1 - right, right]))
    met, unmet = judge(criteria("auc >= 0.75", "auc >= 0.99"), found)
    assert (met.state, unmet.state) == ("met", "unmet")
    assert met.low < met.value < met.high


@pytest.mark.parametrize(
    ("text", "outputs", "word"),
    [
        ("auc >= 1", "ab", "cannot be met"),
        ("auc >= 85", "ab", "between 0 and 1"),
        ("auc == 0.9", "ab", "exactly"),
        ("auc >= baseline + 0.02", "ab", "baseline"),
        ("auc >= 0.8", "abc", "which of 3 labels"),
        ("auc[label=d] >= 0.8", "abc", "no label is called 'd'"),
        ("auc[precision >= 0.9] >= 0.8", "ab", "parameter"),
    ],
)
def test_what_can_never_be_shown_is_refused_with_a_way_out(text, outputs, word):
    fault = Auc().fault(criteria(text)[0], list(outputs))
    assert fault is not None
    assert word in fault.what
    assert fault.fix


def test_what_can_be_shown_is_taken():
    assert Auc().fault(criteria("auc >= 0.8")[0], ["a", "b"]) is None
    assert Auc().fault(criteria("auc[label=b] >= 0.8")[0], ["a", "b", "c"]) is None

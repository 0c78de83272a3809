"""Average precision, Brier score and cost are scikit-learn's; impossible criteria are refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, confusion_matrix

from sartor.judge.checks.risk import Risk
from tests.judge.rows import criteria, subject

quick = settings(max_examples=60, deadline=None)
seeds = st.tuples(st.integers(2, 60), st.integers(0, 2**31), st.sampled_from(["ab", "abc"]))


def drawn(count, seed, names):
    rng = np.random.default_rng(seed)
    truth = [*names, *rng.choice(list(names), count)]
    # Few values, so that many rows tie.
    stated = rng.integers(1, 6, (len(truth), len(names))).astype(float)
    stated /= stated.sum(1, keepdims=True)
    best = [names[i] for i in stated.argmax(1)]
    return truth, best, stated


def value(text, found):
    (part,) = Risk().parts(criteria(text)[0], found)
    return part.statistic.observed


@quick
@given(seeds)
def test_average_precision_and_brier_of_a_label_are_scikit_learns(of):
    truth, best, stated = drawn(*of)
    found = subject(truth, best, probabilities=stated)
    marks = np.array([label == "b" for label in truth])
    wanted = average_precision_score(marks, stated[:, 1])
    assert value("pr_auc[label=b] >= 0.5", found) == pytest.approx(wanted)
    wanted = brier_score_loss(marks, stated[:, 1])
    assert value("brier[label=b] <= 0.5", found) == pytest.approx(wanted)


@quick
@given(seeds)
def test_brier_of_all_labels_is_scikit_learns(of):
    truth, best, stated = drawn(*of)
    wanted = brier_score_loss(truth, stated, labels=list(of[2]))
    found = subject(truth, best, probabilities=stated)
    assert value("brier <= 0.5", found) == pytest.approx(wanted)


@quick
@given(seeds, st.integers(0, 9), st.integers(0, 9))
def test_the_cost_is_that_of_the_confusion_matrix(of, miss, alarm):
    truth, best, stated = drawn(*of)
    found = subject(truth, best, probabilities=stated)
    said, true = ([label == "a" for label in labels] for labels in (best, truth))
    _, false, missed, _ = confusion_matrix(true, said, labels=[False, True]).ravel()
    wanted = (miss * missed + alarm * false) / len(truth)
    text = f"expected_cost[label=a, miss={miss}, false_alarm={alarm}] <= 1"
    assert value(text, found) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("expected_cost <= 1", "of which label"),
        ("pr_auc >= 0.5", "of which label"),
        ("expected_cost[label=a, mis=5] <= 1", "no parameter 'mis'"),
        ("expected_cost[label=a, miss=dear] <= 1", "not written that way"),
        ("expected_cost[label=a, miss >= 2] <= 1", "not written that way"),
        ("pr_auc[label=a, miss=5] >= 0.5", "no parameter 'miss'"),
        ("pr_auc[label=z] >= 0.5", "no label is called 'z'"),
        ("pr_auc[label=a] >= 1", "between 0 and 1"),
        ("brier <= 3", "between 0 and 2"),
        ("expected_cost[label=a] <= 0", "above 0"),
        ("brier == 0.2", "exactly"),
        ("brier <= baseline", "no probabilities"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_a_way_out(text, word):
    fault = Risk().fault(criteria(text)[0], ["a", "b"])
    assert fault is not None
    assert word in fault.what
    assert fault.fix


@pytest.mark.parametrize(
    "text", ["expected_cost[label=a, miss=5] <= 9", "brier <= 0.2", "pr_auc[label=b] >= 0.3"]
)
def test_what_can_be_measured_is_not(text):
    assert Risk().fault(criteria(text)[0], ["a", "b"]) is None

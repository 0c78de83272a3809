import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from sartor.judge.api import CannotMeasure
from sartor.judge.checks.classification import METRICS, Classification
from sartor.judge.outcomes import outcomes
from tests.judge.rows import criteria, subject

LABELS = ["a", "b", "c", "拒绝"]
pairs = st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1)
quick = settings(max_examples=60, deadline=None)


def value(text, found):
    return Classification().parts(criteria(text)[0], found)[0].statistic.observed


@quick
@given(pairs)
def test_label_metrics_are_scikit_learns(rows):
    truth, best = map(list, zip(*rows, strict=True))
    found = subject(truth, best)
    assert value("accuracy >= 0.5", found) == pytest.approx(sk.accuracy_score(truth, best))
    reference = {
        "precision": sk.precision_score,
        "recall": sk.recall_score,
        "f1": sk.f1_score,
    }
    for name, score in reference.items():
        for how in ("macro", "micro", "weighted"):
            ours = value(f"{name}_{how} >= 0.5", found)
            theirs = score(truth, best, average=how, zero_division=0.0)
            assert ours == pytest.approx(theirs), f"{name}_{how}"
        for label in found.outputs:
            ours = value(f'{name}[label="{label}"] >= 0.5', found)
            theirs = score(truth, best, labels=[label], average="macro", zero_division=0.0)
            assert ours == pytest.approx(theirs), f"{name}[{label}]"


@quick
@given(pairs, st.integers(0, 2**31))
def test_log_loss_is_scikit_learns(rows, seed):
    truth, best = map(list, zip(*rows, strict=True))
    found_labels = sorted({*truth, *best})
    stated = np.random.default_rng(seed).dirichlet(np.ones(len(found_labels)), len(truth))
    found = subject(truth, best, probabilities=stated)
    if len(found_labels) == 1:
        assert value("log_loss <= 1", found) == pytest.approx(0)
    else:
        theirs = sk.log_loss(truth, stated, labels=found_labels)
        assert value("log_loss <= 1", found) == pytest.approx(theirs)


@quick
@given(pairs, st.integers(0, 2**31))
def test_calibration_error_is_the_binned_definition(rows, seed):
    truth, best = map(list, zip(*rows, strict=True))
    labels = sorted({*truth, *best})
    stated = np.random.default_rng(seed).dirichlet(np.ones(len(labels)), len(truth))
    sure = stated[np.arange(len(best)), [labels.index(b) for b in best]]
    right = np.array(truth) == np.array(best)
    expected = 0.0
    for b in range(15):
        inside = (sure > b / 15) & (sure <= (b + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - sure[inside].mean())
    found = subject(truth, best, probabilities=stated)
    assert value("calibration_error <= 1", found) == pytest.approx(expected)


@quick
@given(pairs)
def test_the_confusion_matrix_is_scikit_learns(rows):
    truth, best = map(list, zip(*rows, strict=True))
    found = outcomes(subject(truth, best))
    # One label alone makes scikit-learn warn, so it is given one more.
    theirs = sk.confusion_matrix(truth, best, labels=[*found.classes, "unused"])
    assert (found.confusion() == theirs[:-1, :-1]).all()


def test_every_listed_metric_can_be_measured():
    found = subject(["a", "b", "a"], ["a", "b", "b"], probabilities=np.full((3, 2), 0.5))
    for metric in METRICS:
        label = "[label=a]" if metric in ("precision", "recall", "f1") else ""
        assert np.isfinite(value(f"{metric}{label} <= 0.9", found)), metric


def test_abstaining_changes_the_automation_rate_and_not_the_accuracy():
    truth, best = ["a", "a", "b", "b"], ["a", "b", "b", "b"]
    found = subject(truth, best, answered=[True, False, True, True])
    assert value("accuracy >= 0.5", found) == 0.75
    rate, right = Classification().parts(
        criteria("automation_rate[precision >= 0.9] >= 0.5")[0], found
    )
    assert rate.statistic.observed == 0.75
    assert right.statistic.observed == 1.0
    assert right.statistic.n == 3


def test_a_recall_counts_only_the_rows_of_its_label():
    found = subject(["a"] * 3 + ["b"] * 7, ["a", "a", "b"] + ["b"] * 7)
    (part,) = Classification().parts(criteria("recall[label=a] >= 0.5")[0], found)
    assert part.statistic.n == 3
    assert part.of == "label=a"


def test_a_difference_from_the_baseline_is_paired():
    found = subject(["a"] * 4, ["a", "a", "a", "b"], baseline=["a", "b", "b", "b"])
    assert value("accuracy >= baseline + 0.03", found) == pytest.approx(0.5)


def test_answers_without_probabilities_say_so_and_how_to_go_on():
    with pytest.raises(CannotMeasure, match=r"log_loss needs probabilities, and answer 1 has none"):
        value("log_loss <= 1", subject(["a"], ["a"]))


def test_a_label_that_only_the_rows_have_is_always_wrong():
    found = subject(["a", "a"], ["a", "a"])
    fresh = type(found)(
        examples=type(found.examples)(
            ids=("1", "2"), inputs={"text": ("x", "y")}, target=("a", "new")
        ),
        answers=found.answers,
        outputs=["a"],
    )
    assert value("accuracy >= 0.5", fresh) == 0.5
    assert value("f1_macro >= 0.5", fresh) == pytest.approx((2 / 3 + 0) / 2)

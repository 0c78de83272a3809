"""Metrics of several labels a row are scikit-learn's, and their intervals are over rows."""

import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from sartor.core.errors import DataError
from sartor.core.types import Examples
from sartor.judge.api import Subject
from sartor.judge.checks.multi_label import METRICS, MultiLabel, by_label
from sartor.judge.intervals import clopper_pearson
from sartor.judge.planning import more_rows
from sartor.judge.resolve import check_of, metrics
from sartor.judge.rival import compare, read_predictions
from sartor.judge.verdicts import RowsBehind, gather, judge
from sartor.need.grammar import parse_criterion

NAMES = ("a", "b", "c", "d")


def subject(truth, stated, said=None, baseline=None):
    """Rows whose answers give every label of a probability of one half or more."""
    said = stated >= 0.5 if said is None else said
    sets = [tuple(n for n, yes in zip(NAMES, row, strict=False) if yes) for row in truth]
    answers = [
        {
            "labels": [n for n, yes in zip(NAMES, given, strict=False) if yes],
            "probabilities": dict(zip(NAMES, map(float, row), strict=False)),
        }
        for given, row in zip(said, stated, strict=True)
    ]
    ids = tuple(map(str, range(len(sets))))
    names = NAMES[: truth.shape[1]]
    examples = Examples(ids, {"text": ids}, tuple(sets))
    return Subject(examples, answers, names, baseline=baseline, target="labels")


@st.composite
def rows(draw):
    n, k = draw(st.integers(2, 40)), draw(st.integers(2, 4))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    truth = rng.random((n, k)) < rng.random(k)
    # Few distinct values, so that there are ties.
    stated = np.round(
        np.clip(0.5 * truth + rng.random((n, k)) * 0.7, 0, 1), draw(st.integers(1, 3))
    )
    return truth, stated


def value(text, found):
    criterion = parse_criterion(text)
    behind = gather(criterion, found)
    assert isinstance(behind, RowsBehind), behind
    return behind.parts[0].statistic.observed


def averaged(function, how):
    return lambda truth, said, _: function(truth, said, average=how, zero_division=0)


SETS = {
    "subset_accuracy": lambda t, s, _: reference.accuracy_score(t, s),
    "hamming_loss": lambda t, s, _: reference.hamming_loss(t, s),
    **{
        f"{name}_{how}": averaged(getattr(reference, f"{name}_score"), how)
        for name in ("precision", "recall", "f1")
        for how in ("micro", "weighted")
    },
}


@pytest.mark.parametrize("metric", SETS)
@settings(max_examples=40, deadline=None)
@given(rows())
def test_a_metric_of_sets_is_scikit_learns(metric, drawn):
    truth, stated = drawn
    wanted = SETS[metric](truth, stated >= 0.5, stated)
    assert value(f"{metric} >= 0.1", subject(truth, stated)) == pytest.approx(wanted)


@pytest.mark.parametrize("name", ["precision", "recall", "f1"])
@settings(max_examples=40, deadline=None)
@given(rows())
def test_macro_averages_are_scikit_learns_over_the_labels_that_occur(name, drawn):
    truth, stated = drawn
    said = stated >= 0.5
    there = np.flatnonzero((truth | said).any(0))
    wanted = 0.0
    if len(there):
        function = getattr(reference, f"{name}_score")
        wanted = function(truth, said, average="macro", labels=there, zero_division=0)
    assert value(f"{name}_macro >= 0.1", subject(truth, stated)) == pytest.approx(wanted)


@pytest.mark.parametrize("name", ["precision", "recall", "f1"])
@settings(max_examples=30, deadline=None)
@given(rows())
def test_a_ratio_of_one_label_is_scikit_learns(name, drawn):
    truth, stated = drawn
    function = getattr(reference, f"{name}_score")
    wanted = function(truth[:, 1], stated[:, 1] >= 0.5, zero_division=0)
    found = gather(parse_criterion(f"{name}[label=b] >= 0.1"), subject(truth, stated))
    assert isinstance(found, RowsBehind)
    statistic = found.parts[0].statistic
    assert statistic.observed == pytest.approx(wanted)


@settings(max_examples=60, deadline=None)
@given(rows())
def test_mean_average_precision_is_scikit_learns_over_the_labels_that_occur(drawn):
    truth, stated = drawn
    there = truth.any(0)
    wanted = 0.0
    if there.any():
        wanted = reference.average_precision_score(truth[:, there], stated[:, there])
    assert value("map >= 0.1", subject(truth, stated)) == pytest.approx(wanted)


@settings(max_examples=30, deadline=None)
@given(rows())
def test_log_loss_is_scikit_learns_averaged_over_labels(drawn):
    truth, stated = drawn
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        each = [
            reference.log_loss(truth[:, k], np.clip(stated[:, k], 1e-15, 1 - 1e-15), labels=[0, 1])
            for k in range(truth.shape[1])
        ]
    wanted = np.mean(each)
    assert value("log_loss <= 0.5", subject(truth, stated)) == pytest.approx(wanted, rel=1e-6)


def test_calibration_is_that_of_all_yes_and_no_in_bins():
    rng = np.random.default_rng(3)
    stated = rng.random((400, 3))
    truth = rng.random((400, 3)) < stated**2
    bins = np.clip(np.ceil(stated * 15).astype(int) - 1, 0, 14)
    gaps = [abs((truth - stated)[bins == b].sum()) for b in range(15)]
    found = gather(parse_criterion("calibration_error <= 0.05"), subject(truth, stated))
    assert isinstance(found, RowsBehind)
    assert found.parts[0].statistic.observed == pytest.approx(sum(gaps) / stated.size)
    (verdict,) = judge([parse_criterion("calibration_error <= 0.05")], subject(truth, stated))
    assert verdict.state == "unmet"


def test_a_calibrated_model_may_have_no_error_at_all():
    rng = np.random.default_rng(4)
    stated = rng.random((300, 3))
    truth = rng.random((300, 3)) < stated
    (verdict,) = judge([parse_criterion("calibration_error <= 0.2")], subject(truth, stated))
    assert verdict.low == 0.0
    assert verdict.state == "met"


def noisy(n=300, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.random((n, 4)) < np.array([0.5, 0.3, 0.2, 0.05])
    stated = np.clip(0.25 + 0.5 * truth + rng.normal(0, 0.25, truth.shape), 0.001, 0.999)
    return truth, stated


def test_whole_sets_have_an_exact_interval():
    truth, stated = noisy()
    (verdict,) = judge([parse_criterion("subset_accuracy >= 0.1")], subject(truth, stated))
    right = int(((stated >= 0.5) == truth).all(1).sum())
    low, high = clopper_pearson(right, len(truth), 0.05)
    assert (verdict.low, verdict.high) == (pytest.approx(float(low)), pytest.approx(float(high)))


@pytest.mark.parametrize("metric", ["f1_micro", "f1_macro", "hamming_loss", "map", "log_loss"])
def test_an_interval_is_about_as_wide_as_fresh_samples_scatter(metric):
    text = f"{metric} >= 0.1"
    found = [value(text, subject(*noisy(seed=seed))) for seed in range(60)]
    (verdict,) = judge([parse_criterion(text)], subject(*noisy(seed=99)))
    assert verdict.low < verdict.value < verdict.high
    width = (verdict.high - verdict.low) / (2 * 1.96 * np.std(found))
    assert 0.75 < width < 1.7


def test_rows_that_repeat_each_other_are_no_further_evidence_where_they_are_grouped():
    truth, stated = noisy(60)
    truth, stated = np.repeat(truth, 8, 0), np.repeat(stated, 8, 0)
    plain = subject(truth, stated)
    grouped = Subject(
        plain.examples,
        plain.answers,
        plain.outputs,
        groups=[str(i // 8) for i in range(len(truth))],
        target="labels",
    )
    asked = [parse_criterion("f1_micro >= 0.5")]
    (loose,), (tight,) = judge(asked, grouped), judge(asked, plain)
    assert loose.high - loose.low > 2 * (tight.high - tight.low)


@pytest.mark.parametrize("metric", ["f1_macro", "f1_micro", "map", "subset_accuracy"])
def test_a_faultless_sample_proves_no_faultless_model(metric):
    truth, _ = noisy(50)
    stated = np.where(truth, 0.99, 0.01)
    (verdict,) = judge([parse_criterion(f"{metric} >= 0.99")], subject(truth, stated))
    assert verdict.value == 1.0
    assert verdict.low < 0.99
    assert verdict.state == "unproven"


def test_a_baseline_is_read_as_the_labels_are():
    truth, stated = noisy(80)
    today = ["a; b" if i % 2 else "[]" for i in range(80)]
    found = value("f1_micro >= baseline + 0.1", subject(truth, stated, baseline=today))
    said = np.array([[i % 2, i % 2, 0, 0] for i in range(80)])
    ours = reference.f1_score(truth, stated >= 0.5, average="micro")
    assert found == pytest.approx(ours - reference.f1_score(truth, said, average="micro"))


def test_a_label_that_the_model_does_not_know_counts_as_missed():
    truth, stated = noisy(50)
    found = subject(truth, stated)
    target = (("a", "strange"), *found.examples.target[1:])
    strange = Examples(found.examples.ids, found.examples.inputs, target)
    again = Subject(strange, found.answers, found.outputs, target="labels")
    assert by_label(again)[-1] == {"label": "strange", "true": 1, "said": 0, "hits": 0}
    assert value("map >= 0.1", again) < value("map >= 0.1", found)


@pytest.mark.parametrize("metric", METRICS)
def test_a_metric_that_both_forms_have_is_measured_by_its_own_check(metric):
    assert isinstance(check_of(metric, "labels"), MultiLabel)
    assert not isinstance(check_of(metric, "label"), MultiLabel)


def test_accuracy_is_no_metric_of_sets():
    assert "accuracy" not in metrics("labels")
    assert {"latency_p95_ms", "size_mb", "map"} <= set(metrics("labels"))
    assert "map" not in metrics("label")


def test_what_is_unproven_says_how_many_rows_would_decide():
    truth, stated = noisy(60)
    found = gather(parse_criterion("f1_micro >= 0.7"), subject(truth, stated))
    assert isinstance(found, RowsBehind)
    (part,) = found.parts
    assert part.statistic.n == 60
    assert more_rows(part, (0.6, 0.9), 0.05, 0.03) is not None


def test_a_rivals_sets_are_read_and_compared(tmp_path):
    truth, stated = noisy(40)
    ours = subject(truth, stated)
    path = tmp_path / "answers.jsonl"
    lines = [json.dumps({"id": name, "labels": ["a"]}) for name in ours.examples.ids]
    path.write_text("\n".join(lines))
    read = read_predictions(path, ours.examples, NAMES, "labels")
    assert read[0] == {"labels": ["a"]}
    rival = Subject(ours.examples, read, NAMES, target="labels")
    asked = [parse_criterion("f1_micro >= 0.1"), parse_criterion("map >= 0.1")]
    sets, ranks = compare(ours, rival, asked)
    assert sets.low < sets.value < sets.high
    assert (ranks.n, "probabilities" in ranks.note) == (0, True)
    (alike,) = compare(ours, subject(truth, stated), asked[1:])
    assert (alike.value, alike.low <= 0 <= alike.high) == (0, True)
    path.write_text(lines[0].replace("labels", "label").replace('["a"]', '"a"'))
    with pytest.raises(DataError, match="labels: Field required"):
        read_predictions(path, ours.examples, NAMES, "labels")
    path.write_text(lines[0].replace('["a"]', '["aa"]'))
    with pytest.raises(DataError, match="no label is called 'aa'"):
        read_predictions(path, ours.examples, NAMES, "labels")

"""Metrics of numbers and levels are scikit-learn's and SciPy's; their intervals are honest."""

import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as reference

from sartor.core.errors import DataError
from sartor.core.types import Examples
from sartor.judge.api import CannotMeasure, Subject
from sartor.judge.checks.numbers import numbered
from sartor.judge.intervals import bootstrap
from sartor.judge.moments import kappa, pearson, spearman
from sartor.judge.planning import planned_test_rows
from sartor.judge.resolve import check_of, metrics
from sartor.judge.rival import read_predictions
from sartor.judge.verdicts import RowsBehind, gather, judge
from sartor.need.grammar import parse_criterion

LEVELS = ("a", "b", "c", "d")


def numbers(truth, said, half=1.0, baseline=None):
    ids = tuple(map(str, range(len(truth))))
    answers = [
        {"value": None, "low": None, "high": None, "coverage": 0.9}
        if np.isnan(z)
        else {"value": float(z), "low": float(z - half), "high": float(z + half), "coverage": 0.9}
        for z in said
    ]
    examples = Examples(ids, {"text": ids}, tuple(map(float, truth)))
    return Subject(examples, answers, ("value",), baseline=baseline, target="number")


def levels(truth, said):
    ids = tuple(map(str, range(len(truth))))
    answers = [{"label": LEVELS[k], "best": LEVELS[k]} for k in said]
    examples = Examples(ids, {"text": ids}, tuple(LEVELS[k] for k in truth))
    return Subject(examples, answers, LEVELS, target="level")


def value(metric, found):
    behind = gather(parse_criterion(f"{metric} >= 0.1"), found)
    assert isinstance(behind, RowsBehind), behind
    return behind.parts[0].statistic.observed


@st.composite
def pairs(draw):
    n = draw(st.integers(3, 60))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    truth = rng.normal(draw(st.sampled_from([0.0, 1e6])), draw(st.sampled_from([1.0, 50.0])), n)
    said = truth * rng.choice([-1, 0.3, 1]) + rng.normal(0, 1, n)
    # Few distinct values, so that there are ties.
    digits = draw(st.integers(0, 3))
    return np.round(truth, digits), np.round(said, digits)


@settings(max_examples=60, deadline=None)
@given(pairs())
def test_metrics_of_numbers_are_those_of_scikit_learn_and_scipy(pair):
    truth, said = pair
    found = numbers(truth, said)
    assert value("mae", found) == pytest.approx(reference.mean_absolute_error(truth, said))
    assert value("rmse", found) == pytest.approx(reference.root_mean_squared_error(truth, said))
    # Ties may lie right at an end, where rounding decides.
    off = np.abs(truth - said)
    least, most = (off < 1 - 1e-6).mean(), (off < 1 + 1e-6).mean()
    assert least - 1e-9 <= value("coverage", found) <= most + 1e-9
    assert value("interval_width", found) == pytest.approx(2.0, rel=1e-6)
    if truth.std() > 0:
        assert value("r2", found) == pytest.approx(
            reference.r2_score(truth, said), rel=1e-9, abs=1e-6
        )
    if truth.std() > 0 and said.std() > 0:
        wanted = stats.pearsonr(truth, said).statistic
        assert value("pearson", found) == pytest.approx(wanted, abs=1e-6)
        wanted = stats.spearmanr(truth, said).statistic
        assert value("spearman", found) == pytest.approx(wanted, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=50))
def test_metrics_of_levels_are_those_of_scikit_learn_and_scipy(rows):
    truth, said = map(np.array, zip(*rows, strict=True))
    found = levels(truth, said)
    assert value("mae", found) == pytest.approx(np.abs(truth - said).mean())
    assert value("within_one", found) == pytest.approx((np.abs(truth - said) <= 1).mean())
    assert value("accuracy", found) == pytest.approx((truth == said).mean())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = reference.cohen_kappa_score(truth, said, labels=range(4), weights="quadratic")
    kappa_found = value("quadratic_weighted_kappa", found)
    assert kappa_found == pytest.approx(0.0 if np.isnan(wanted) else wanted, abs=1e-9)


def test_constant_sides_correlate_with_nothing():
    flat = np.full(10, 3.0)
    varied = np.arange(10.0)
    for one, other in ((flat, varied), (varied, flat), (flat, flat)):
        assert pearson(one, other).observed == spearman(one, other).observed == 0.0
        assert kappa(one, other).observed == 0.0


@pytest.mark.parametrize("strength", [0.0, 0.7, 2.5])
def test_the_interval_of_spearman_is_as_wide_as_that_of_whole_resamples(strength):
    rng = np.random.default_rng(int(10 * strength))
    truth = rng.normal(0, 1, 250)
    said = np.round(strength * truth + rng.normal(0, 1, 250), 1)
    low, high = bootstrap(spearman(truth, said), 0.05, 0)
    drawn = [
        stats.spearmanr(truth[rows], said[rows]).statistic
        for rows in rng.integers(0, 250, (600, 250))
    ]
    plain = np.quantile(drawn, [0.025, 0.975])
    # One further row that is as wrong as the worst, or as a blind guess, may be there as well.
    assert 0.95 < (high - low) / (plain[1] - plain[0]) < 1.45
    assert low <= stats.spearmanr(truth, said).statistic <= high


@pytest.mark.parametrize("metric", ["mae", "rmse", "r2", "pearson", "spearman"])
def test_the_interval_holds_the_truth_as_often_as_it_says(metric):
    def drawn(rng, n):
        truth = rng.normal(0, 1, n)
        return numbers(truth, 0.8 * truth + rng.normal(0, 0.6, n))

    right = value(metric, drawn(np.random.default_rng(0), 200_000))
    held = 0
    for seed in range(120):
        behind = gather(
            parse_criterion(f"{metric} >= 0.1"), drawn(np.random.default_rng(seed + 1), 80)
        )
        assert isinstance(behind, RowsBehind)
        low, high = bootstrap(behind.parts[0].statistic, 0.05, seed, draws=400)
        held += low <= right <= high
    assert held >= 0.88 * 120


def test_a_faultless_sample_of_few_rows_proves_little():
    truth = np.arange(8.0)
    (verdict,) = judge([parse_criterion("spearman >= 0.99")], numbers(truth, truth))
    assert (verdict.state, verdict.value) == ("unproven", 1.0)


def test_a_row_without_an_answer_counts_as_the_mean_and_is_covered_by_nothing():
    truth = np.array([0.0, 2.0, 4.0, 6.0])
    found = numbers(truth, np.array([0.0, 2.0, 4.0, np.nan]))
    assert value("mae", found) == pytest.approx(3.0 / 4)
    assert value("coverage", found) == 0.75
    assert [row["truth"] for row in numbered(found)] == [0.0, 2.0, 4.0]


def test_a_baseline_of_numbers_is_compared_row_by_row():
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 1, 400)
    today = ["1,000" if i == 7 else "" if i == 8 else f"{t + 0.5:.6f}" for i, t in enumerate(truth)]
    subject = numbers(truth, truth + 0.1, baseline=today)
    (verdict,) = judge([parse_criterion("mae <= baseline - 0.2")], subject)
    assert verdict.state == "met"
    worse = [*today[:-1], "much"]
    (verdict,) = judge(
        [parse_criterion("mae <= baseline")], numbers(truth, truth + 0.1, baseline=worse)
    )
    assert (verdict.state, verdict.n) == ("unproven", 0)
    assert "'much'" in verdict.note


@pytest.mark.parametrize(
    ("text", "kind", "word"),
    [
        ("mae <= 0", "number", "above 0"),
        ("spearman >= 1", "number", "at most 1"),
        ("coverage >= 1", "number", "no finite number of rows"),
        ("mae == 1", "number", "exactly"),
        ("coverage >= baseline + 0.1", "number", "baseline's answers have no"),
        ("mae[label=a] <= 1", "number", "takes no parameter"),
        ("within_one >= 90", "level", "between 0 and 1"),
        ("quadratic_weighted_kappa >= 1.2", "level", "at most 1"),
    ],
)
def test_what_can_never_be_shown_is_refused_with_a_way_out(text, kind, word):
    criterion = parse_criterion(text)
    check = check_of(criterion.metric, kind)
    assert check is not None
    fault = check.fault(criterion, LEVELS)
    assert fault is not None
    assert word in fault.what
    assert fault.fix


def test_each_form_of_answers_has_its_own_metrics():
    assert "quadratic_weighted_kappa" not in metrics("label")
    assert {"accuracy", "recall", "quadratic_weighted_kappa", "size_mb"} <= set(metrics("level"))
    assert {"rmse", "coverage"} <= set(metrics("number"))
    assert "accuracy" not in metrics("number")
    assert "rmse" not in metrics("level")


def test_metrics_with_a_unit_ask_for_no_number_of_test_rows():
    asked = [parse_criterion(t) for t in ("mae <= 0.5", "rmse <= 0.9", "interval_width <= 0.4")]
    assert planned_test_rows(asked, {}) == 0
    assert planned_test_rows([parse_criterion("coverage >= 0.9")], {}) > 50


def test_answers_of_anything_else_are_read_as_numbers(tmp_path):
    ids = ("r1", "r2")
    rows = Examples(ids, {"text": ids}, (1.0, 2.0))
    path = tmp_path / "answers.jsonl"
    lines = [
        {"id": "r2", "value": 2.5, "low": 2, "high": 3, "note": "x"},
        {"id": "r1", "value": 1},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = read_predictions(path, rows, ["value"], "number")
    assert found == [{"value": 1.0}, {"value": 2.5, "low": 2.0, "high": 3.0}]
    subject = Subject(rows, found, ("value",), target="number")
    assert value("mae", subject) == pytest.approx(0.25)
    check = check_of("coverage", "number")
    with pytest.raises(CannotMeasure, match="answer 1 has none"):
        check.parts(parse_criterion("coverage >= 0.5"), subject)
    path.write_text('{"label": "3"}\n')
    with pytest.raises(DataError, match="value: Field required"):
        read_predictions(path, rows, ["value"], "number")

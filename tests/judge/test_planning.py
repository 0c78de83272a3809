import numpy as np
import pytest

from sartor.judge.intervals import clopper_pearson
from sartor.judge.planning import (
    binomial_rows,
    planned_test_rows,
    provable,
    rows_needed,
    truth_needed,
)
from tests.judge.rows import criteria


def need(text):
    return criteria(text)[0]


def test_a_recall_of_ninety_per_cent_takes_36_faultless_positives_or_180_at_ninety_five():
    recall = need("recall[label=refund] >= 0.9")
    assert rows_needed(recall, 1.0) == 36
    assert rows_needed(recall, 0.95) == 180


def test_a_test_set_of_640_proves_eighty_per_cent_if_the_truth_is_eighty_five():
    found = truth_needed(640, 0.8)
    assert found is not None
    assert 0.8 < found <= 0.85
    assert provable(640, 0.85) > 0.8


@pytest.mark.parametrize(("threshold", "truth", "chance"), [(0.9, 0.95, 0.7), (0.5, 0.7, 0.9)])
def test_the_planned_rows_are_enough_as_often_as_said_and_fewer_are_not(threshold, truth, chance):
    n = binomial_rows(threshold, truth, 0.025, chance)
    rng = np.random.default_rng(0)

    def power(rows):
        k = rng.binomial(rows, truth, 20_000)
        low, _ = clopper_pearson(k, np.full_like(k, rows), 0.05)
        return np.mean(low >= threshold)

    assert power(n) == pytest.approx(chance, abs=0.05)
    assert power(n) >= chance - 0.01
    assert power(n // 2) < chance - 0.1


def test_no_number_of_rows_shows_what_is_not_so():
    assert rows_needed(need("accuracy >= 0.9"), 0.9) is None
    assert rows_needed(need("accuracy >= 0.9"), 0.8) is None
    assert rows_needed(need("accuracy >= baseline + 0.03"), 0.02) is None
    assert truth_needed(30, 0.9) is None


def test_upper_limits_and_later_looks_are_planned_too():
    assert rows_needed(need("calibration_error <= 0.1"), 0.0) == 36
    first = rows_needed(need("accuracy >= 0.8"), 0.85)
    third = rows_needed(need("accuracy >= 0.8"), 0.85, look=3)
    assert first is not None
    assert third is not None
    assert third > first


def test_the_planned_test_set_serves_the_hungriest_criterion():
    shares = {"refund": 0.1, "other": 0.9}
    assert planned_test_rows(criteria("recall[label=refund] >= 0.9"), shares) == 1800
    both = criteria("recall[label=refund] >= 0.9", "accuracy >= 0.8", "size_mb <= 60")
    assert planned_test_rows(both, shares) == 1800
    assert planned_test_rows(criteria("latency_p95_ms <= 20", "size_mb <= 60"), shares) == 0
    assert planned_test_rows(criteria("recall[label=unknown] >= 0.9"), shares) == 0
    assert planned_test_rows([], shares) == 0


def test_an_automation_rate_is_planned_for_its_precision():
    low = planned_test_rows(criteria("automation_rate[precision >= 0.97] >= 0.5"), {})
    inner = rows_needed(need("accuracy >= 0.97"), 0.985)
    assert inner is not None
    assert low == 2 * inner

"""A user's own head: pulled towards the shared one, as far as rows that were left out allow."""

import math

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from sartor.core.errors import DataError, SettingError
from sartor.tune.personal import GRID, PersonalHead, Said, Shared, fit_personal

FEATURES, OUTPUTS = 12, 3
rng = np.random.default_rng(0)
CENTRES = (4 * rng.standard_normal((OUTPUTS, FEATURES))).astype(np.float32)


def texts(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, features) around one centre a label, off the origin, and the label all would give."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, OUTPUTS, n)
    return (CENTRES[labels] + draw.standard_normal((n, FEATURES)) + 3).astype(np.float32), labels


def shared(temperature: float = 1.0) -> Shared:
    """Right on nearly all of `texts`, and about as sure as a calibrated model is."""
    weight = 0.05 * (CENTRES - CENTRES.mean(0))
    bias = -(weight @ (CENTRES.mean(0) + 3)) - 10 * np.square(weight).sum(1)
    return Shared(weight * temperature, (bias * temperature).astype(np.float32), temperature)


def said(features: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> Said:
    return Said(
        features, labels.astype(np.int64), np.ones(len(labels)) if weights is None else weights
    )


def accuracy(head: PersonalHead | Shared, features: np.ndarray, labels: np.ndarray) -> float:
    return float(((features @ head.weight.T + head.bias).argmax(1) == labels).mean())


def test_from_a_shared_head_of_zeros_it_is_scikit_learns_logistic_regression():
    features, labels = texts(40, 1)
    labels[::5] = (labels[::5] + 1) % OUTPUTS
    weights = np.random.default_rng(2).uniform(0.2, 2.0, len(labels))
    nothing = Shared(np.zeros((OUTPUTS, FEATURES), np.float32), np.zeros(OUTPUTS, np.float32))
    strength = 0.5

    head = fit_personal(nothing, said(features, labels, weights), (strength,))

    away = features.astype(np.float64) - features.mean(0, dtype=np.float64)
    away /= np.sqrt(np.square(away).sum(1).mean())
    peer = LogisticRegression(C=1 / strength, fit_intercept=False, tol=1e-10, max_iter=10_000)
    ones = np.hstack([away, np.ones((len(away), 1))])
    expected = peer.fit(ones, labels, weights).predict_proba(ones)
    logits = features @ head.weight.T.astype(np.float64) + head.bias
    found = np.exp(logits - logits.max(1, keepdims=True))
    np.testing.assert_allclose(found / found.sum(1, keepdims=True), expected, atol=2e-4)


def test_a_habit_is_learnt_from_a_few_rows_and_the_rest_is_kept():
    features, labels = texts(30, 3)
    habit = np.where(labels == 0, 1, labels)  # to this user, the first label is the second
    fresh, truth = texts(400, 4)
    theirs = np.where(truth == 0, 1, truth)

    head = fit_personal(shared(), said(features, habit))

    assert math.isfinite(head.strength)
    assert accuracy(shared(), fresh, theirs) < 0.75
    assert accuracy(head, fresh, theirs) > 0.9


def test_a_stronger_pull_stays_nearer_to_the_shared_head():
    features, labels = texts(30, 5)
    habit = (labels + 1) % OUTPUTS
    away = [
        float(
            np.linalg.norm(
                fit_personal(shared(), said(features, habit), (value,)).weight - shared().weight
            )
        )
        for value in GRID[1:]
    ]
    assert away == sorted(away)
    assert away[0] > 0


def test_an_infinite_pull_is_the_shared_head_itself():
    features, labels = texts(30, 5)
    head = fit_personal(shared(), said(features, (labels + 1) % OUTPUTS), (math.inf,))
    np.testing.assert_array_equal(head.weight, shared().weight)
    np.testing.assert_array_equal(head.bias, shared().bias)


def test_labels_without_a_pattern_leave_the_user_with_the_shared_head():
    features, _ = texts(60, 6)
    flat = Shared(np.zeros((OUTPUTS, FEATURES), np.float32), np.zeros(OUTPUTS, np.float32))
    labels = np.arange(60) % OUTPUTS
    head = fit_personal(flat, said(features, np.random.default_rng(7).permutation(labels)))
    assert math.isinf(head.strength) or head.strength >= 10


def test_a_user_who_only_ever_says_one_label_moves_it_a_bounded_way():
    features, _ = texts(12, 8)
    head = fit_personal(shared(), said(features, np.zeros(12, np.int64)), (1.0,))
    assert np.isfinite(head.weight).all()
    assert accuracy(head, features, np.zeros(12)) > accuracy(shared(), features, np.zeros(12))


def test_the_temperature_of_the_decision_rule_changes_no_answer():
    features, labels = texts(30, 9)
    habit = np.where(labels == 0, 1, labels)
    plain = fit_personal(shared(), said(features, habit))
    scaled = fit_personal(shared(8.0), said(features, habit))
    assert scaled.strength == plain.strength
    np.testing.assert_allclose(scaled.weight, 8 * plain.weight, rtol=1e-3, atol=1e-3)


def test_a_row_weighs_what_it_is_said_to_weigh():
    features, labels = texts(20, 10)
    habit = (labels + 1) % OUTPUTS
    twice = fit_personal(
        shared(), said(np.vstack([features, features]), np.concatenate([habit, habit])), (1.0,)
    )
    heavy = fit_personal(shared(), said(features, habit, np.full(20, 2.0)), (1.0,))
    np.testing.assert_allclose(heavy.weight, twice.weight, atol=1e-3)


def test_what_cannot_be_fitted_is_refused_with_what_to_do():
    features, labels = texts(3, 11)
    with pytest.raises(DataError, match=r"at least 2 rows\. Got 1"):
        fit_personal(shared(), said(features[:1], labels[:1]))
    features[1, 0] = np.nan
    with pytest.raises(SettingError, match="1 of 3 texts"):
        fit_personal(shared(), said(features, labels))
    with pytest.raises(SettingError, match=r"above 0\. Got -1"):
        fit_personal(shared(), said(features, labels), (-1.0,))

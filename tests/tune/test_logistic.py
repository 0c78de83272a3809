"""Logistic regressions solved together: each is scikit-learn's, whatever its neighbours."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from sartor.tune.logistic import Problems, Rotated, solve


def _rows(rows: int, features: int, classes: int, seed: int = 0):
    """Standardised features, correlated as activations are, and labels that follow them."""
    random = np.random.default_rng(seed)
    hidden = random.normal(size=(rows, features)) / np.sqrt(1 + np.arange(features))
    labels = (hidden[:, :classes] + random.normal(0, 0.3, (rows, classes))).argmax(1)
    labels[:classes] = np.arange(classes)
    mixed = hidden @ random.normal(size=(features, features))
    return ((mixed - mixed.mean(0)) / mixed.std(0)).astype(np.float32), labels


def _softmax(logits):
    shares = np.exp(logits - logits.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize(("rows", "features"), [(400, 24), (60, 200)])
def test_each_of_many_problems_has_scikit_learns_solution(rows, features, classes):
    x, labels = _rows(rows, features, classes)
    random = np.random.default_rng(1)
    strengths = np.array([1e-3, 0.01, 0.1, 1.0, 0.1])
    weights = np.ones((5, rows), np.float32)
    weights[3] = random.uniform(0.2, 3.0, rows)
    weights[4] = random.random(rows) < 0.7  # a fold
    weights[4, :classes] = 1

    found, offset = solve(Rotated.of(x), Problems(strengths, weights, labels, classes))

    for i, strength in enumerate(strengths):
        reference = LogisticRegression(C=strength, tol=1e-10, max_iter=50_000)
        reference.fit(x.astype(np.float64), labels, sample_weight=weights[i])
        expected = reference.predict_proba(x)
        np.testing.assert_allclose(_softmax(x @ found[i].T + offset[i]), expected, atol=5e-4)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 5), st.sampled_from([1e-3, 0.1, 10.0]), st.booleans())
def test_the_gradient_vanishes_at_the_solution(seed, classes, strength, wide):
    x, labels = _rows(50, 80 if wide else 12, classes, seed)
    weights = np.random.default_rng(seed).uniform(0.1, 2, (1, 50)).astype(np.float32)

    (weight,), (bias,) = solve(
        Rotated.of(x), Problems(np.array([strength]), weights, labels, classes)
    )

    excess = (_softmax(x @ weight.T + bias) - np.eye(classes)[labels]) * weights[0][:, None]
    # Two classes are penalised as scikit-learn's one row: half of what two rows would be.
    pull = weight / strength * (2 if classes == 2 else 1)
    scale = np.abs(x).T @ (weights[0][:, None] * np.ones(classes))
    assert np.abs(excess.T @ x + pull).max() < 2e-3 * scale.max()
    assert np.abs(excess.sum(0)).max() < 2e-3 * weights.sum()


def test_directions_that_hold_nothing_are_left_out():
    x, _ = _rows(100, 10, 2)

    rotated = Rotated.of(np.hstack([x, x, np.zeros((100, 3), np.float32)]))

    assert rotated.rows.shape == (100, 10 + 1)


def test_identical_rows_are_solved_by_the_bias_alone():
    x, labels = np.zeros((30, 4), np.float32), np.arange(30) % 3
    weights = np.ones((1, 30), np.float32)

    weight, bias = solve(Rotated.of(x), Problems(np.array([1.0]), weights, labels, 3))

    np.testing.assert_allclose(weight, 0.0)
    np.testing.assert_allclose(_softmax(bias), 1 / 3, atol=1e-6)

"""Stacking: what a pool cannot mend, and what few rows cannot choose."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from sartor.search import stacking
from sartor.search.pool import choose, cross_fitted, split_in_halves
from sartor.search.stacking import choose_stack


def skewed(seed: int, rows: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """(stack, truth): one model that swaps two classes and leans to the third, one that is weak."""
    draw = np.random.default_rng(seed)
    truth = draw.integers(0, 3, rows)
    stack = draw.normal(size=(2, rows, 3))
    stack[0, np.arange(rows), truth] += 2.5
    stack[0] = stack[0][:, [1, 0, 2]] + [0.0, 0.0, 3.0]
    stack[1, np.arange(rows), truth] += 1.0
    return stack.astype(np.float32), truth.astype(np.intp)


def accuracy(logits: np.ndarray, truth: np.ndarray) -> float:
    return float((logits.argmax(1) == truth).mean())


def test_a_member_with_swapped_and_leaning_classes_is_set_right():
    stack, truth = skewed(0)
    halves = split_in_halves(len(truth), 0)
    pooled = accuracy(cross_fitted(stack, truth, halves, choose), truth)
    stacked = accuracy(cross_fitted(stack, truth, halves, choose_stack), truth)
    assert pooled < 0.65
    assert stacked > 0.85


def test_it_is_the_regression_that_scikit_learn_fits(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stacking, "_STRENGTHS", (0.1,))
    stack, truth = skewed(1)
    found = choose_stack(stack, truth)
    assert sorted(found.members) == [0, 1]
    centred = stack.astype(float) - stack.mean(2, keepdims=True)
    flat = centred[found.members].transpose(1, 0, 2).reshape(len(truth), -1)
    x = (flat - flat.mean(0)) / flat.std(0)
    wanted = LogisticRegression(C=0.1, tol=1e-8, max_iter=5000).fit(x, truth).predict_log_proba(x)
    logits = found.logits(stack).astype(float)
    np.testing.assert_allclose(
        logits - logits.mean(1, keepdims=True),
        wanted - wanted.mean(1, keepdims=True),
        atol=2e-3,
    )


def test_what_is_added_to_a_whole_row_changes_nothing():
    stack, truth = skewed(2)
    found = choose_stack(stack, truth)
    shifted = stack + np.random.default_rng(0).normal(size=(2, len(truth), 1)).astype(np.float32)
    np.testing.assert_allclose(found.logits(stack), found.logits(shifted), atol=1e-4)


def test_few_rows_of_honest_members_are_not_fitted_to_pieces():
    draw = np.random.default_rng(3)
    worse = []
    for seed in range(10):
        truth = draw.integers(0, 3, 60).astype(np.intp)
        stack = draw.normal(size=(6, 60, 3)).astype(np.float32)
        stack[:, np.arange(60), truth] += 1.0
        halves = split_in_halves(60, seed)
        right = [
            accuracy(cross_fitted(stack, truth, halves, by), truth) for by in (choose, choose_stack)
        ]
        worse.append(right[0] - right[1])
    assert np.mean(worse) < 0.05, "a penalty holds it near what few rows can tell"


def test_members_that_may_not_stand_together_do_not():
    stack, truth = skewed(4)
    assert len(choose_stack(stack, truth, lambda chosen: len(chosen) < 2).members) == 1

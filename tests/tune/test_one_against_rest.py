"""Several labels a row: one regression a label, all in the batched solver."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from sartor.core.errors import DataError
from sartor.core.likelihood import UNKNOWN
from sartor.tune.distillation import Distillation, Taught, divergence
from sartor.tune.heads import HeadData, HeadSetting, cross_logits, fit_heads
from sartor.tune.hidden import HiddenSetting, fit_hidden
from sartor.tune.logistic import Problems, Rotated, solve_yes_or_no
from sartor.tune.regularise import consistency


def rows(count=160, features=12, labels=5, seed=0):
    """Features, and marks that depend on them: of half of the rows to a twentieth."""
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(count, features)) * rng.uniform(0.2, 3, features)).astype(np.float32)
    odds = x @ rng.normal(size=(features, labels)) / 3 + np.linspace(0, -3, labels)
    return x, (rng.random((count, labels)) < 1 / (1 + np.exp(-odds))).astype(np.float32)


def head_data(x, marks):
    held = rows(40, x.shape[1], seed=7)[0]
    return HeadData(lambda _: x, lambda _: held, marks, marks.shape[1])


def test_each_label_has_scikit_learns_own_regression():
    x, marks = rows()
    weights = (1.0, 2.0, 1.0, 0.5, 3.0)
    (fit,) = fit_heads(head_data(x, marks), [HeadSetting((0,), 0.3, weights)])
    standard = StandardScaler().fit(x)
    for k, weight in enumerate(weights):
        heavy = np.where(marks[:, k] > 0, weight, 1.0)
        model = LogisticRegression(C=0.3, tol=1e-8, max_iter=2_000)
        model.fit(standard.transform(x), marks[:, k], sample_weight=heavy)
        wanted = model.decision_function(standard.transform(x))
        np.testing.assert_allclose(fit.train_logits[:, k], wanted, atol=2e-3)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 100), st.floats(0.01, 10), st.booleans())
def test_the_gradient_vanishes_at_the_solution(seed, strength, wide):
    x, marks = rows(60, 90 if wide else 8, 3, seed)
    rotated = Rotated.of(StandardScaler().fit_transform(x).astype(np.float32))
    standard = rotated.rows[:, :-1] @ rotated.basis.T
    told = np.flatnonzero((marks.sum(0) > 0) & (marks.sum(0) < 60))
    yes = np.ascontiguousarray(marks.T[told])
    problems = Problems.yes_or_no(np.full(len(told), strength), np.ones_like(yes), yes)
    weight, bias = solve_yes_or_no(rotated, problems)
    p = 1 / (1 + np.exp(-(standard @ weight.T + bias)))
    excess = p - yes.T
    gradient = strength * standard.T @ excess + weight.T
    assert np.abs(gradient).max() < 1e-2 * max(strength, 1) * len(x) ** 0.5
    assert np.abs(strength * excess.sum(0)).max() < 1e-2 * max(strength, 1)


def test_a_setting_gives_the_same_head_alone_and_in_any_grid():
    x, marks = rows()
    grid = [HeadSetting((0,), c, (1.0,) * 5) for c in (0.01, 0.1, 1.0)]
    together = fit_heads(head_data(x, marks), grid)
    for setting, fit in zip(grid, together, strict=True):
        (alone,) = fit_heads(head_data(x, marks), [setting])
        np.testing.assert_allclose(fit.train_logits, alone.train_logits, atol=1e-4)


def test_a_label_that_no_row_or_every_row_has_gets_a_bias_that_is_a_number():
    x, marks = rows()
    marks[:, 1], marks[:, 2] = 0, 1
    (fit,) = fit_heads(head_data(x, marks), [HeadSetting((0,), 0.1, (1.0,) * 5)])
    assert fit.bias[1] == pytest.approx(-np.log(320))
    assert fit.bias[2] == pytest.approx(np.log(320))
    assert not fit.weight[[1, 2]].any()


def test_a_row_is_scored_by_a_head_that_did_not_see_it():
    x, marks = rows()
    folds = np.arange(len(x)) % 4
    setting = HeadSetting((0,), 0.1, (1.0,) * 5)
    (crossed,) = cross_logits(head_data(x, marks), [setting], folds)
    # Means and deviations are of all rows, as `cross_logits` says.
    standard = StandardScaler().fit_transform(x)
    for k in range(5):
        model = LogisticRegression(C=0.1, tol=1e-8, max_iter=2_000)
        model.fit(standard[folds != 2], marks[folds != 2, k])
        wanted = model.decision_function(standard[folds == 2])
        np.testing.assert_allclose(crossed[folds == 2, k], wanted, atol=5e-3)


def test_rows_that_all_have_the_same_labels_are_refused():
    x, marks = rows()
    with pytest.raises(DataError, match="the same label"):
        fit_heads(head_data(x, np.tile(marks[:1], (len(x), 1))), [HeadSetting((0,), 1, (1.0,) * 5)])


def test_a_hidden_layer_learns_labels_that_no_line_parts():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (600, 2)).astype(np.float32)
    marks = np.stack([x[:, 0] * x[:, 1] > 0, x[:, 0] > 0.2], 1).astype(np.float32)
    held = np.ascontiguousarray(x[:200])
    data = HeadData(lambda _: x[200:], lambda _: held, marks[200:], 2)
    setting = HiddenSetting((0,), False, 32, 10.0, 0.0, 1e-2, (1.0, 1.0), 0)
    (fit,) = fit_hidden(data, marks[:200], [setting])
    right = (fit.validation_logits > 0) == (marks[:200] > 0)
    assert right.mean(0).min() > 0.9


def test_distillation_parts_each_label_by_itself():
    logits, teacher = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.5, 3.0]])
    p, q = torch.sigmoid(teacher / 2), torch.sigmoid(logits / 2)
    each = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
    found = divergence(logits, teacher, 2.0, several=True)
    torch.testing.assert_close(found, 4 * each.mean(-1))
    assert float(divergence(logits, logits, 2.0, several=True)) == pytest.approx(0, abs=1e-7)


def test_two_masks_are_compared_label_by_label():
    one, two = torch.tensor([[1.0, -2.0], [0.0, 1.0]]), torch.tensor([[0.5, 3.0], [1.0, 1.0]])
    p, q = torch.sigmoid(one), torch.sigmoid(two)

    def kl(a, b):
        return a * (a / b).log() + (1 - a) * ((1 - a) / (1 - b)).log()

    wanted = ((kl(p, q) + kl(q, p)) / 2).mean()
    torch.testing.assert_close(consistency.divergence(one, two, several=True), wanted)


def test_rows_without_labels_learn_from_the_teacher_alone():
    labels = np.array([[1, 0], [UNKNOWN, UNKNOWN]], np.float32)
    teacher = np.zeros((2, 2), np.float32)
    asked = []

    def base(logits, truth):
        asked.append(truth)
        return logits.sum() * 0

    loss = Taught(labels, teacher, 2, Distillation(), base)(torch.ones(2, 2), torch.arange(2))
    assert float(loss) > 0
    (seen,) = asked
    assert seen.tolist() == [[1.0, 0.0]]

"""Transferability scores against direct computation, and what must not change them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import multivariate_normal
from sklearn.covariance import ledoit_wolf
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

from sartor.core.errors import DataError, SettingError
from sartor.models.ranking.hscore import hscore, shrinkage
from sartor.models.ranking.logme import logme, logme_of_labels
from sartor.models.ranking.neighbours import knn_accuracy
from sartor.models.ranking.spectrum import spectrum


def rows(count: int, width: int, classes: int, signal: float, seed: int = 0):
    """(features, labels): Gaussian clouds whose centres are `signal` apart."""
    draw = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), draw.integers(0, classes, count - classes)])
    centres = signal * draw.normal(size=(classes, width))
    features = draw.normal(size=(count, width)) + centres[labels]
    return features.astype(np.float32), labels.astype(np.int64)


def contrasts(count: int) -> np.ndarray:
    """(count − 1, count), orthonormal, each row summing to 0: the rows without their mean."""
    return np.linalg.svd(np.eye(count) - 1 / count)[2][: count - 1]


def published_evidence(features: np.ndarray, target: np.ndarray, alpha: float, beta: float):
    """The formula as You et al. print it, with its D × D matrix."""
    count, width = features.shape
    a = alpha * np.eye(width) + beta * features.T @ features
    m = beta * np.linalg.solve(a, features.T @ target)
    return (
        count / 2 * np.log(beta)
        + width / 2 * np.log(alpha)
        - count / 2 * np.log(2 * np.pi)
        - beta / 2 * ((features @ m - target) ** 2).sum()
        - alpha / 2 * (m**2).sum()
        - np.linalg.slogdet(a)[1] / 2
    )


def highest_evidence(features: np.ndarray, target: np.ndarray, evidence) -> float:
    """The best over α and β, by a general optimiser from several starts."""
    starts = [(a, b) for a in (-6.0, -2.0, 2.0, 6.0) for b in (0.0, 3.0)]
    return -min(
        minimize(
            lambda x: -evidence(features, target, np.exp(x[0]), np.exp(x[1])),
            start,
            method="Nelder-Mead",
            bounds=[(-15, 15)] * 2,
            options={"maxiter": 4000, "xatol": 1e-7, "fatol": 1e-10},
        ).fun
        for start in starts
    )


@pytest.mark.parametrize(("count", "width"), [(40, 6), (24, 40)])
def test_logme_is_the_published_evidence_at_its_highest(count: int, width: int):
    features, labels = rows(count, width, 3, 0.8)
    free = contrasts(count)
    expected = [
        highest_evidence(free @ features, free @ (labels == c), published_evidence)
        for c in range(3)
    ]
    found = logme(spectrum(features, labels))
    assert found == pytest.approx(np.mean(expected) / (count - 1), abs=1e-5)


def test_logme_is_the_density_of_labels_under_the_prior():
    features, labels = rows(30, 5, 2, 1.0)
    free = contrasts(30)

    def density(f: np.ndarray, y: np.ndarray, alpha: float, beta: float) -> float:
        covariance = np.eye(len(y)) / beta + f @ f.T / alpha
        return float(multivariate_normal.logpdf(y, cov=covariance))

    expected = highest_evidence(free @ features, free @ (labels == 0), density)
    # Two classes are each other's mirror image.
    assert logme(spectrum(features, labels)) == pytest.approx(expected / 29, abs=1e-5)


def test_logme_of_activations_that_say_nothing_is_that_of_the_labels():
    labels = np.tile([0, 1, 1], 20)
    same = np.ones((60, 4), np.float32)
    assert logme(spectrum(same, labels)) == pytest.approx(logme_of_labels(labels), abs=1e-12)
    noise, _ = rows(900, 4, 3, 0.0)
    many = np.tile([0, 1, 1], 300)
    assert logme(spectrum(noise, many)) == pytest.approx(logme_of_labels(many), abs=0.01)


@pytest.mark.parametrize(("count", "width"), [(80, 6), (40, 60)])
def test_hscore_is_the_trace_with_the_shrunk_covariance(count: int, width: int):
    features, labels = rows(count, width, 3, 0.5)
    precise = features.astype(np.float64)
    covariance, weight = ledoit_wolf(precise)
    found = spectrum(features, labels)
    assert shrinkage(found) == pytest.approx(weight, abs=1e-6)
    means = np.array([precise[labels == c].mean(0) for c in range(3)])[labels]
    between = np.cov(means.T, bias=True)
    expected = (1 - weight) * np.trace(np.linalg.solve(covariance, between))
    assert hscore(found) == pytest.approx(expected, rel=1e-5)


def test_hscore_lies_between_none_and_all_of_the_classes():
    apart, labels = rows(300, 8, 4, 100.0)
    mixed, _ = rows(300, 8, 4, 0.0, seed=1)
    assert 2.9 < hscore(spectrum(apart, labels)) <= 3
    assert 0 <= hscore(spectrum(mixed, labels)) < 0.2
    assert hscore(spectrum(np.ones((300, 3), np.float32), labels)) == 0


def test_nearest_neighbours_leave_out_the_row_they_answer():
    features, labels = rows(60, 5, 2, 0.6)
    centred = features - features.mean(0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    reference = cross_val_predict(KNeighborsClassifier(5), centred, labels, cv=LeaveOneOut())
    assert knn_accuracy(features, labels) == pytest.approx((reference == labels).mean())
    alone = np.arange(6, dtype=np.int64)
    assert knn_accuracy(features[:6], alone) == 0, "nobody shares a label, so no vote is right"


SHAPES = st.tuples(st.integers(12, 40), st.integers(2, 30), st.integers(2, 4), st.integers(0, 99))


@settings(max_examples=25, deadline=None)
@given(shape=SHAPES, scale=st.sampled_from([1e-3, 1.0, 300.0]), data=st.data())
def test_moving_rotating_scaling_and_reordering_change_no_score(shape, scale, data):
    count, width, classes, seed = shape
    features, labels = rows(count, width, classes, 0.7, seed)
    draw = np.random.default_rng(data.draw(st.integers(0, 99)))
    rotation = np.linalg.qr(draw.normal(size=(width, width)))[0]
    order = draw.permutation(count)
    moved = ((scale * features @ rotation) + scale * draw.normal(size=width)).astype(np.float64)
    before = spectrum(features, labels)
    after = spectrum(moved[order], (classes - 1 - labels)[order])
    assert logme(after) == pytest.approx(logme(before), abs=2e-3)
    assert hscore(after) == pytest.approx(hscore(before), rel=2e-3, abs=1e-4)


def test_more_signal_scores_higher_by_every_score():
    near = [rows(200, 20, 3, s) for s in (0.0, 0.3, 1.0)]
    for measure in (
        lambda f, y: logme(spectrum(f, y)),
        lambda f, y: hscore(spectrum(f, y)),
        knn_accuracy,
    ):
        scores = [measure(*one) for one in near]
        assert scores == sorted(scores)
        assert scores[0] < scores[2] - 0.1


def test_more_activations_than_rows_do_not_explain_random_labels():
    """What cross-validation would be needed for without the evidence's own penalty."""
    features, _ = rows(40, 400, 2, 0.0)
    labels = np.random.default_rng(1).integers(0, 2, 40)
    assert logme(spectrum(features, labels)) < logme_of_labels(labels) + 0.1


def test_what_cannot_be_scored_is_refused():
    features, labels = rows(20, 3, 2, 1.0)
    with pytest.raises(DataError, match="same label"):
        spectrum(features, np.zeros(20, np.int64))
    features[3, 1] = np.nan
    with pytest.raises(SettingError, match="not numbers"):
        spectrum(features, labels)

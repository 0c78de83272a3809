"""Fitting the decision rule on validation rows: how sure the first document is, and when to stop.

    p     = softmax(z / T)                                  Guo et al. 2017, arXiv:1706.04599
    sure  = σ(a · z_1 / T + b · (z_1 − z_2) / T + c)        that the first document is right

z_1 and z_2 are the two highest similarities. A softmax alone cannot say that none is right: it
gives all of its probability to the documents there are. So how likely the first one is to be right
is learnt from rows whose answer is known, those without one among them, by a logistic regression on
how near it is and how far ahead: Platt 1999, with his smoothed targets.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sartor.core.likelihood import Truth, fit_temperature, hits
from sartor.core.protocols import Floats

Doubles = NDArray[np.float64]
_STEPS, _PENALTY = 50, 1e-2
"""Of Newton's method, on standardised features; the penalty keeps weights finite where right and
wrong part cleanly."""
_ROWS_TO_TELL = 10
"""Right or wrong rows below which only their share is told, not what sets them apart."""


def temperature_of(logits: Floats, truth: Truth) -> float:
    """The temperature, from the rows that have an answer."""
    some = (truth >= 0).any((1, 2))
    return fit_temperature(logits[some], truth[some])


def signs(logits: Floats | Doubles, temperature: float) -> Doubles:
    """(rows, 2): how near the first document is, and how far ahead of the second."""
    wide = np.asarray(logits, np.float64) / temperature
    top = -np.partition(-wide, 1, axis=1)[:, :2]
    return np.stack([top[:, 0], top[:, 0] - top[:, 1]], 1)


def sureness(found: Doubles, weights: Sequence[float]) -> Doubles:
    """(rows,) probability that the first document is right.

    Args:
        found: From `signs`.
        weights: a, b and c.
    """
    near, ahead, offset = weights
    wide = np.clip(found @ np.array([near, ahead]) + offset, -500, 500)
    return 1.0 / (1.0 + np.exp(-wide))


def fit_sureness(logits: Floats, truth: Truth, temperature: float) -> list[float]:
    """a, b and c, from the rows.

    Neither weight is below 0: a nearer document is never less likely to be right.
    """
    right = hits(logits, truth).astype(np.float64)
    n, yes = len(right), float(right.sum())
    target = np.where(right > 0, (yes + 1) / (yes + 2), 1 / (n - yes + 2))
    base = float((yes + 1) / (n + 2))
    flat = [0.0, 0.0, float(np.log(base / (1 - base)))]
    if min(yes, n - yes) < _ROWS_TO_TELL:
        return flat
    found = signs(logits, temperature)
    middle, spread = found.mean(0), np.maximum(found.std(0), 1e-9)
    used = np.array([True, True])
    while used.any():
        x = np.hstack([((found - middle) / spread)[:, used], np.ones((n, 1))])
        weights = _logistic(x, target)
        if (weights[:-1] >= 0).all():
            slopes = np.zeros(2)
            slopes[used] = weights[:-1] / spread[used]
            return [*slopes.tolist(), float(weights[-1] - slopes @ middle)]
        used[np.flatnonzero(used)[weights[:-1] < 0]] = False
    return flat


def _logistic(x: Doubles, target: Doubles) -> Doubles:
    """(columns,) weights; the last column is the offset and is not held back."""
    weights = np.zeros(x.shape[1])
    penalty = np.append(np.full(x.shape[1] - 1, _PENALTY), 0.0)
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(x @ weights, -500, 500)))
        gradient = x.T @ (p - target) / len(x) + penalty * weights
        curve = (x * (p * (1 - p))[:, None]).T @ x / len(x) + np.diag(penalty + 1e-9)
        step = np.linalg.solve(curve, gradient)
        weights -= step * min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-12))
        if float(np.abs(step).max()) < 1e-9:
            break
    return weights

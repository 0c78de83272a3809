"""How likely a model's logits make the truth, and the temperature that makes it likeliest.

The form of the truth says which likelihood it is:

    (rows,) class indices             softmax: −log p[y]
    (rows, most) class indices, −1    softmax: −log Σ p[y], over the right ones of a row, of which
                                      −1 is none; 0 for a row that has none
    (rows, outputs) 0.0 or 1.0        a sigmoid each: the mean over outputs of −log p[y_k]

so that whoever compares, pools or calibrates logits need not know the task.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sartor.core.protocols import Floats

Doubles = NDArray[np.float64]
Truth = NDArray[Any]
"""Integers or float32, in one of the forms above."""


def compete(truth: Truth) -> bool:
    """Whether outputs share one probability of 1; else each is a yes or no of its own."""
    return truth.ndim == 1 or truth.dtype.kind == "i"


def marks(truth: Truth, outputs: int) -> NDArray[np.float32]:
    """(rows, outputs) 1 where an output is right, else 0; of any form."""
    if not compete(truth):
        return np.asarray(truth, np.float32)
    right = truth.reshape(len(truth), -1)
    found = np.zeros((len(truth), outputs), np.float32)
    rows, places = np.nonzero(right >= 0)
    found[rows, right[rows, places]] = 1.0
    return found


def losses(logits: Floats | Doubles, truth: Truth) -> Doubles:
    """(rows,) log-loss of each row, in nats; of several outputs their mean.

    Args:
        logits: (rows, outputs).
        truth: See above.
    """
    wide = np.asarray(logits, np.float64)
    if not compete(truth):
        # log(1 + e^z) − y·z, without overflow.
        each = np.logaddexp(0.0, wide) - truth * wide
        return each.mean(1)
    total = _log_sum(wide)
    if truth.ndim == 1:
        return total - wide[np.arange(len(truth)), truth]
    right = np.where(truth >= 0, np.take_along_axis(wide, np.maximum(truth, 0), 1), -np.inf)
    some = (truth >= 0).any(1)
    found = np.zeros(len(truth))
    found[some] = total[some] - _log_sum(right[some])
    return found


def _log_sum(wide: Doubles) -> Doubles:
    """(rows,) log of the sum of exponentials, without overflow."""
    top = wide.max(1)
    return top + np.log(np.exp(wide - top[:, None]).sum(1))


def hits(logits: Floats | Doubles, truth: Truth) -> NDArray[np.bool_]:
    """(rows,) whether the likeliest answer is right; of a yes or no each, all of them."""
    if not compete(truth):
        return ((np.asarray(logits) > 0) == (truth > 0)).all(1)
    best = np.asarray(logits).argmax(1)
    return best == truth if truth.ndim == 1 else (best[:, None] == truth).any(1)


def fit_temperature(logits: Floats, truth: Truth) -> float:
    """The temperature that minimises log-loss, by golden-section search on its logarithm.

    Args:
        logits: (examples, outputs).
        truth: See above; without any row the temperature is 1.

    Returns:
        Between 0.05 and 20; above 1 means the model was over-confident.

    Reference: Guo et al. 2017, https://arxiv.org/abs/1706.04599
    """
    if not len(truth):
        return 1.0

    def loss(log_t: float) -> float:
        z = np.asarray(logits, np.float64) / np.exp(log_t)
        if truth.ndim == 2:
            return float(losses(z, truth).mean())
        z -= z.max(1, keepdims=True)
        return float((np.log(np.exp(z).sum(1)) - z[np.arange(len(truth)), truth]).mean())

    return float(np.exp(_golden(loss, np.log(0.05), np.log(20.0))))


def _golden(loss: Callable[[float], float], low: float, high: float) -> float:
    """Where a function with one valley is least."""
    ratio = (5**0.5 - 1) / 2
    a, b = high - ratio * (high - low), low + ratio * (high - low)
    loss_a, loss_b = loss(a), loss(b)
    for _ in range(40):
        if loss_a < loss_b:
            high, b, loss_b = b, a, loss_a
            a = high - ratio * (high - low)
            loss_a = loss(a)
        else:
            low, a, loss_a = a, b, loss_b
            b = low + ratio * (high - low)
            loss_b = loss(b)
    return (low + high) / 2

"""How likely a model's logits make the truth, and the temperature that makes it likeliest.

The form of the truth says which likelihood it is:

    (rows,) class indices       softmax: −log p[y]
    (rows, outputs) 0 or 1      a sigmoid each: the mean over outputs of −log p[y_k]

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


def losses(logits: Floats | Doubles, truth: Truth) -> Doubles:
    """(rows,) log-loss of each row, in nats; of several outputs their mean.

    Args:
        logits: (rows, outputs).
        truth: See above.
    """
    wide = np.asarray(logits, np.float64)
    if truth.ndim == 2:
        # log(1 + e^z) − y·z, without overflow.
        each = np.logaddexp(0.0, wide) - truth * wide
        return each.mean(1)
    top = wide.max(1)
    total = top + np.log(np.exp(wide - top[:, None]).sum(1))
    return total - wide[np.arange(len(truth)), truth]


def hits(logits: Floats | Doubles, truth: Truth) -> NDArray[np.bool_]:
    """(rows,) whether the likeliest answer is the right one: of several outputs, all of them."""
    if truth.ndim == 2:
        return ((np.asarray(logits) > 0) == (truth > 0)).all(1)
    return np.asarray(logits).argmax(1) == truth


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

"""How likely a model's logits make the truth, and the temperature that makes it likeliest.

The form of the truth says which likelihood it is:

    (rows,) class indices                softmax: −log p[y]
    (rows, outputs) 0 or 1               a sigmoid each: the mean over outputs of −log p[y_k]
    (rows, pieces) class indices, int    a softmax each: the mean over a row's pieces of −log p[y_t]

so that whoever compares, pools or calibrates logits need not know the task. Where a row has fewer
pieces than the longest, its truth is `NO_PIECE`, and nothing that stands there counts.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sartor.core.protocols import Floats
from sartor.core.ragged import widened

Doubles = NDArray[np.float64]
Truth = NDArray[Any]
"""Integers or float32, in one of the forms above."""
NO_PIECE = -1


def of_marks(truth: Truth) -> bool:
    """Whether each output is a yes or no of its own."""
    return truth.ndim == 2 and truth.dtype.kind != "i"


def of_pieces(truth: Truth) -> bool:
    """Whether each piece of a row has a class."""
    return truth.ndim == 2 and truth.dtype.kind == "i"


def fitting(logits: Floats, truth: Truth) -> Floats:
    """Logits of the truth's rows, in the truth's width where it is of pieces."""
    return widened(logits, truth.shape[1]) if of_pieces(truth) else logits


def losses(logits: Floats | Doubles, truth: Truth) -> Doubles:
    """(rows,) log-loss of each row, in nats; of several outputs or pieces their mean.

    Args:
        logits: (rows, outputs), or (rows, pieces, outputs).
        truth: See above.
    """
    wide = np.asarray(logits, np.float64)
    if of_pieces(truth):
        counted = truth != NO_PIECE
        flat, right = _flat(logits, truth)
        found = np.zeros(truth.shape)
        found[counted] = losses(flat, right)
        return found.sum(1) / np.maximum(counted.sum(1), 1)
    if of_marks(truth):
        # log(1 + e^z) − y·z, without overflow.
        each = np.logaddexp(0.0, wide) - truth * wide
        return each.mean(1)
    top = wide.max(1)
    total = top + np.log(np.exp(wide - top[:, None]).sum(1))
    return total - wide[np.arange(len(truth)), truth]


def hits(logits: Floats | Doubles, truth: Truth) -> NDArray[np.bool_]:
    """(rows,) whether the likeliest answer is the right one: of several, all of them."""
    if of_pieces(truth):
        best = widened(np.asarray(logits), truth.shape[1]).argmax(2)
        return ((best == truth) | (truth == NO_PIECE)).all(1)
    if of_marks(truth):
        return ((np.asarray(logits) > 0) == (truth > 0)).all(1)
    return np.asarray(logits).argmax(1) == truth


def _flat(logits: Floats | Doubles, truth: Truth) -> tuple[Floats, Truth]:
    """(pieces of all rows, outputs) and (pieces of all rows,)."""
    counted = truth != NO_PIECE
    return widened(np.asarray(logits), truth.shape[1])[counted], truth[counted]


def fit_temperature(logits: Floats, truth: Truth) -> float:
    """The temperature that minimises log-loss, by golden-section search on its logarithm.

    Args:
        logits: (examples, outputs), or (examples, pieces, outputs): then all pieces count alike.
        truth: See above; without any row the temperature is 1.

    Returns:
        Between 0.05 and 20; above 1 means the model was over-confident.

    Reference: Guo et al. 2017, https://arxiv.org/abs/1706.04599
    """
    if of_pieces(truth):
        logits, truth = _flat(logits, truth)
    if not len(truth):
        return 1.0

    def loss(log_t: float) -> float:
        z = np.asarray(logits, np.float64) / np.exp(log_t)
        if of_marks(truth):
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

"""How likely a model's logits make the truth, and the temperature that makes it likeliest.

The form of the truth says which likelihood it is:

    (rows,) class indices       softmax: −log p[y]
    (rows, outputs) 0 or 1      a sigmoid each: the mean over outputs of −log p[y_k]
    (rows,) floats              a Gaussian around the logit, as wide as the errors on these rows:
                                ½ log(2π r²) + ½ (e / s)²,  s² = mean e²,  r = s / deviation of y

so that whoever compares, pools or calibrates logits need not know the task. The unit of a number is
the truth's own deviation: its loss does not depend on whether one counts metres or feet.
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sartor.core.protocols import Floats

Doubles = NDArray[np.float64]
Truth = NDArray[Any]
"""Integers or floats, in one of the forms above."""
Form = Literal["label", "labels", "number"]
UNKNOWN = -1
"""Truth of a row without one; NaN where the truth is a number."""
_LEAST = 1e-6
"""Of the truth's deviation: errors below are rounding."""


def form(truth: Truth) -> Form:
    """Which of the forms above, by the array's shape and type."""
    if truth.ndim == 2:
        return "labels"
    return "number" if truth.dtype.kind == "f" else "label"


def known(truth: Truth) -> NDArray[np.bool_]:
    """(rows,) whether a row has a truth: see `UNKNOWN`."""
    if form(truth) == "number":
        return ~np.isnan(truth)
    return (truth if truth.ndim == 1 else truth[:, 0]) != UNKNOWN


def unknown(rows: int, like: Truth) -> Truth:
    """The truth of rows without one, in the form of another's."""
    value = np.nan if form(like) == "number" else UNKNOWN
    return np.full((rows, *like.shape[1:]), value, like.dtype)


def losses(logits: Floats | Doubles, truth: Truth) -> Doubles:
    """(rows,) log-loss of each row, in nats; of several outputs their mean.

    Args:
        logits: (rows, outputs).
        truth: See above.
    """
    wide = np.asarray(logits, np.float64)
    if form(truth) == "labels":
        # log(1 + e^z) − y·z, without overflow.
        each = np.logaddexp(0.0, wide) - truth * wide
        return each.mean(1)
    if form(truth) == "number":
        squares, width = _errors(wide, truth)
        return 0.5 * np.log(2 * np.pi * width) + 0.5 * squares / width
    top = wide.max(1)
    total = top + np.log(np.exp(wide - top[:, None]).sum(1))
    return total - wide[np.arange(len(truth)), truth]


def hits(logits: Floats | Doubles, truth: Truth) -> NDArray[np.bool_]:
    """(rows,) whether the likeliest answer is the right one: of several outputs, all of them.

    A number is taken as right within half a deviation of the truth's.
    """
    if form(truth) == "number":
        return _errors(np.asarray(logits, np.float64), truth)[0] <= 0.25
    if truth.ndim == 2:
        return ((np.asarray(logits) > 0) == (truth > 0)).all(1)
    return np.asarray(logits).argmax(1) == truth


def _errors(logits: Doubles, truth: Truth) -> tuple[Doubles, float]:
    """(rows,) squared errors and their mean, in squared deviations of the truth."""
    wanted = np.asarray(truth, np.float64)
    unit = float(wanted.std()) or 1.0
    squares = ((logits[:, 0] - wanted) / unit) ** 2
    return squares, max(float(squares.mean()), _LEAST**2)


def fit_temperature(logits: Floats, truth: Truth) -> float:
    """The temperature that minimises log-loss, by golden-section search on its logarithm.

    Args:
        logits: (examples, outputs).
        truth: See above; without any row the temperature is 1.

    Returns:
        Between 0.05 and 20; above 1 means the model was over-confident. 1 for numbers: how wide
        they are is fitted with every loss.

    Reference: Guo et al. 2017, https://arxiv.org/abs/1706.04599
    """
    if not len(truth) or form(truth) == "number":
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

"""How likely a model's logits make the truth, and the temperature that makes it likeliest.

The form of the truth says which likelihood it is:

    (rows,) class indices                softmax: −log p[y]
    (rows, outputs) 0.0 or 1.0           a sigmoid each: the mean over outputs of −log p[y_k]
    (rows,) floats                       a Gaussian around the logit, as wide as the errors on
                                         these rows: ½ log(2π r²) + ½ (e / s)²,  s² = mean e²,
                                         r = s / deviation of y
    (rows, pieces) class indices, int    a softmax each: the mean over a row's pieces of −log p[y_t]
    (rows, 1, most) class indices, int   softmax: −log Σ p[y], over the right ones of a row; 0 for a
                                         row that has none
    (rows, 2, most) places, int          where each right part of a text begins and ends: a softmax
                                         over a row's places for either, of (rows, places, 2)
                                         logits: the mean of −log p[y] of the first right one
    (rows, 2) unsigned ints              which output was asked, and 1 where its answer is yes: a
                                         sigmoid of that one, −log p[y]; no other output counts

so that whoever compares, pools or calibrates logits need not know the task. The unit of a number is
the truth's own deviation: its loss does not depend on whether one counts metres or feet. Where a
row has fewer pieces, or fewer right ones, than the most, −1 stands there and does not count. A
place that was not read, where all logits are 0, is no outcome; if it is the right one, it is as
likely as the unlikeliest that was.
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sartor.core.protocols import Floats
from sartor.core.ragged import widened

Doubles = NDArray[np.float64]
Truth = NDArray[Any]
"""Integers or floats, in one of the forms above."""
Form = Literal["label", "labels", "number", "pieces", "any", "span", "asked"]
UNKNOWN = -1
"""Truth of a row without one; NaN where the truth is a number, and of outputs that are asked the
place `UNASKED`."""
UNASKED = np.iinfo(np.uint32).max
NO_PIECE = -1
_LEAST = 1e-6
"""Of the truth's deviation: errors below are rounding."""


def form(truth: Truth) -> Form:
    """Which of the forms above, by the array's shape and type."""
    if truth.ndim == 3:
        return "any" if truth.shape[1] == 1 else "span"
    if truth.dtype.kind == "u":
        return "asked"
    if truth.ndim == 2:
        return "pieces" if truth.dtype.kind == "i" else "labels"
    return "number" if truth.dtype.kind == "f" else "label"


def of_marks(truth: Truth) -> bool:
    """Whether each output is a yes or no of its own."""
    return form(truth) == "labels"


def of_pieces(truth: Truth) -> bool:
    """Whether each piece of a row has a class."""
    return form(truth) == "pieces"


def known(truth: Truth) -> NDArray[np.bool_]:
    """(rows,) whether a row has a truth: see `UNKNOWN`."""
    if form(truth) == "number":
        return ~np.isnan(truth)
    if form(truth) == "asked":
        return truth[:, 0] != UNASKED
    return truth.reshape(len(truth), -1)[:, 0] != UNKNOWN


def unknown(rows: int, like: Truth) -> Truth:
    """The truth of rows without one, in the form of another's."""
    value = {"number": np.nan, "asked": UNASKED}.get(form(like), UNKNOWN)
    return np.full((rows, *like.shape[1:]), value, like.dtype)


def fitting(logits: Floats, truth: Truth) -> Floats:
    """Logits of the truth's rows, in the truth's width where it is of pieces."""
    return widened(logits, truth.shape[1]) if of_pieces(truth) else logits


def marks(truth: Truth, outputs: int) -> NDArray[np.float32]:
    """(rows, outputs) 1 where an output is right, else 0; of labels, one or several a row."""
    if of_marks(truth):
        return np.asarray(truth, np.float32)
    if form(truth) == "asked":
        found = np.zeros((len(truth), outputs), np.float32)
        found[np.arange(len(truth)), truth[:, 0]] = truth[:, 1]
        return found
    right = truth.reshape(len(truth), -1)
    found = np.zeros((len(truth), outputs), np.float32)
    rows, places = np.nonzero(right >= 0)
    found[rows, right[rows, places]] = 1.0
    return found


def losses(logits: Floats | Doubles, truth: Truth) -> Doubles:
    """(rows,) log-loss of each row, in nats; of several outputs or pieces their mean.

    Args:
        logits: (rows, outputs), or (rows, pieces, outputs), of parts (rows, places, 2).
        truth: See above.
    """
    return _LOSSES[form(truth)](np.asarray(logits, np.float64), truth)


def _loss_of_label(wide: Doubles, truth: Truth) -> Doubles:
    return _log_sum(wide) - wide[np.arange(len(truth)), truth]


def _loss_of_marks(wide: Doubles, truth: Truth) -> Doubles:
    # log(1 + e^z) − y·z, without overflow.
    return (np.logaddexp(0.0, wide) - truth * wide).mean(1)


def _loss_of_asked(wide: Doubles, truth: Truth) -> Doubles:
    asked = wide[np.arange(len(truth)), truth[:, 0]]
    return np.logaddexp(0.0, asked) - truth[:, 1] * asked


def _loss_of_number(wide: Doubles, truth: Truth) -> Doubles:
    squares, width = _errors(wide, truth)
    return 0.5 * np.log(2 * np.pi * width) + 0.5 * squares / width


def _loss_of_pieces(wide: Doubles, truth: Truth) -> Doubles:
    counted = truth != NO_PIECE
    found = np.zeros(truth.shape)
    flat, right = _flat(wide, truth)
    found[counted] = _loss_of_label(np.asarray(flat, np.float64), right)
    return found.sum(1) / np.maximum(counted.sum(1), 1)


def _loss_of_any(wide: Doubles, truth: Truth) -> Doubles:
    places = truth[:, 0]
    right = np.where(places >= 0, np.take_along_axis(wide, np.maximum(places, 0), 1), -np.inf)
    some = (places >= 0).any(1)
    found = np.zeros(len(truth))
    found[some] = _log_sum(wide[some]) - _log_sum(right[some])
    return found


def _loss_of_span(wide: Doubles, truth: Truth) -> Doubles:
    read, right = wide.any(2, keepdims=True), truth[:, :, 0]
    least = np.where(read, wide, np.inf).min(1)
    z = np.where(read, wide, -np.inf)
    top = z.max(1, keepdims=True)
    total = top[:, 0] + np.log(np.exp(z - top).sum(1))
    place = np.minimum(right, wide.shape[1] - 1)
    chosen = np.take_along_axis(z, place[:, None], 1)[:, 0]
    there = (right < wide.shape[1]) & np.isfinite(chosen)
    return (total - np.where(there, chosen, least)).mean(1)


_LOSSES: dict[Form, Callable[[Doubles, Truth], Doubles]] = {
    "label": _loss_of_label,
    "labels": _loss_of_marks,
    "number": _loss_of_number,
    "pieces": _loss_of_pieces,
    "any": _loss_of_any,
    "span": _loss_of_span,
    "asked": _loss_of_asked,
}


def _log_sum(wide: Doubles) -> Doubles:
    """(rows,) log of the sum of exponentials, without overflow."""
    top = wide.max(1)
    return top + np.log(np.exp(wide - top[:, None]).sum(1))


def hits(logits: Floats | Doubles, truth: Truth) -> NDArray[np.bool_]:
    """(rows,) whether the likeliest answer is right: of several outputs or pieces, all of them.

    A number is taken as right within half a deviation of the truth's.
    """
    found, kind = np.asarray(logits), form(truth)
    if kind == "number":
        return _errors(found.astype(np.float64), truth)[0] <= 0.25
    if kind == "asked":
        return (found[np.arange(len(truth)), truth[:, 0]] > 0) == (truth[:, 1] > 0)
    if kind == "labels":
        return ((found > 0) == (truth > 0)).all(1)
    if kind == "span":
        best = np.where(found.any(2, keepdims=True), found, -np.inf).argmax(1)
        return (best[:, :, None] == truth).all(1).any(1)
    if kind == "pieces":
        best = widened(found, truth.shape[1]).argmax(2)
        return ((best == truth) | (truth == NO_PIECE)).all(1)
    best = found.argmax(1)
    return best == truth if kind == "label" else (best[:, None] == truth[:, 0]).any(1)


def _errors(logits: Doubles, truth: Truth) -> tuple[Doubles, float]:
    """(rows,) squared errors and their mean, in squared deviations of the truth."""
    wanted = np.asarray(truth, np.float64)
    unit = float(wanted.std()) or 1.0
    squares = ((logits[:, 0] - wanted) / unit) ** 2
    return squares, max(float(squares.mean()), _LEAST**2)


def _flat(logits: Floats | Doubles, truth: Truth) -> tuple[Floats, Truth]:
    """(pieces of all rows, outputs) and (pieces of all rows,)."""
    counted = truth != NO_PIECE
    return widened(np.asarray(logits), truth.shape[1])[counted], truth[counted]


def fit_temperature(logits: Floats, truth: Truth) -> float:
    """The temperature that minimises log-loss, by golden-section search on its logarithm.

    Args:
        logits: (examples, outputs), or (examples, pieces, outputs).
        truth: See above; without any row the temperature is 1.

    Returns:
        Between 0.05 and 20; above 1 means the model was over-confident. 1 for numbers: how wide
        they are is fitted with every loss.

    Reference: Guo et al. 2017, https://arxiv.org/abs/1706.04599
    """
    if of_pieces(truth):
        logits, truth = _flat(logits, truth)
    if not len(truth) or form(truth) == "number":
        return 1.0

    def loss(log_t: float) -> float:
        z = np.asarray(logits, np.float64) / np.exp(log_t)
        if form(truth) != "label":
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

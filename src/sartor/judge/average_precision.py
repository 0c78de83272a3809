"""Average precision: AP = Σ_n (R_n − R_{n−1}) · P_n, over the distinct stated probabilities.

It is no function of few sums: every row is a kind of its own, and the sums are how often each row
is there. Behind them stand two rows a label that are not: one with the label that is ranked last,
and one that is ranked first. Of many rows that takes too much memory, and little is lost by what
each row moves the value by, alone: the derivative of AP by the row's weight (the influence
function, Hampel 1974, https://doi.org/10.1080/01621459.1974.10482962).
"""

import numpy as np
from numpy.typing import NDArray

from sartor.judge.statistic import Floats, Statistic, divide

Marks = NDArray[np.bool_]
_RANKED = 4_000
"""Rows beyond which their ranks would take more memory than they are worth."""


def mean_average_precision(stated: Floats, truth: Marks) -> Statistic:
    """Mean over labels of their average precision; labels that no row has are left out, and where
    no row has any, no row is behind the value.

    Args:
        stated: (rows, labels).
        truth: (rows, labels).
    """
    seen = np.flatnonzero(truth.any(0))
    one = _by_ranks if len(truth) <= _RANKED else _by_influence
    return one(stated[:, seen], truth[:, seen])


def _by_ranks(stated: Floats, truth: Marks) -> Statistic:
    """Of (rows, labels) stated probabilities and marks, each label having a row."""
    rows, m = truth.shape
    width = rows + 2 * m
    ranks = [_ranks(stated[:, c], truth[:, c], (c, m)) for c in range(m)]

    def value(sums: Floats) -> Floats:
        found = [_average_precision(sums, order, has, ends) for order, has, ends in ranks]
        there = [divide(one, one) for _, one in found]
        total = sum((one for one, _ in found), np.zeros(sums.shape[:-1]))
        return divide(total, sum(there, np.zeros(sums.shape[:-1])))

    extra = np.eye(width)[rows:]
    return Statistic(
        kinds=np.eye(rows, width),
        code=np.arange(rows),
        value=value,
        lowers=extra[:m] if m else np.zeros((1, width)),
        raises=extra[m:] if m else np.zeros((1, width)),
        trials=np.concatenate([np.full(rows, float(m > 0)), np.zeros(2 * m)]),
    )


def _by_influence(stated: Floats, truth: Marks) -> Statistic:
    """The same of many rows: what each moves, over how often it is there."""
    rows, m = truth.shape
    observed, moved = 0.0, np.zeros(rows)
    lowers, raises = np.zeros(max(m, 1)), np.zeros(max(m, 1))
    for label in range(m):
        value, by_row, ends = _influence(stated[:, label], truth[:, label])
        observed += value / m
        moved += by_row / m
        lowers[label], raises[label] = ends[0] / m, ends[1] / m
    there = np.full(rows, float(m > 0))

    def value_of(sums: Floats) -> Floats:
        return np.clip(observed + divide(sums[..., 0], sums[..., 1]), 0.0, 1.0)

    return Statistic(
        kinds=np.column_stack([moved, there]),
        code=np.arange(rows),
        value=value_of,
        lowers=np.column_stack([lowers, np.ones(len(lowers))]),
        raises=np.column_stack([raises, np.ones(len(raises))]),
        trials=np.array([0.0, 1.0]),
    )


def _influence(stated: Floats, has: Marks) -> tuple[float, Floats, tuple[float, float]]:
    """The average precision of a label, what each row moves it by times the number of rows, and
    what a row with the label would, ranked last and ranked first.

    With tp and all rows down to where a probability ends, and n₊ rows with the label:
    AP = Σ_+ tp/all / n₊, so a row adds tp/all − AP if it has the label, and to the precision of
    each row with the label that is not ranked above it (all − tp)/all² if it has it, else −tp/all².
    """
    order = np.argsort(-stated, kind="stable")
    marked = has[order].astype(float)
    last = np.append(np.flatnonzero(np.diff(stated[order])), len(stated) - 1)
    first = np.concatenate([[0], last[:-1] + 1])
    hits, everyone = marked.cumsum()[last], last + 1.0
    with_label = np.add.reduceat(marked, first)
    positives = float(marked.sum())
    precise = hits / everyone
    value = float((with_label * precise).sum()) / positives
    gains = (with_label * (everyone - hits) / everyone**2)[::-1].cumsum()[::-1]
    losses = (with_label * hits / everyone**2)[::-1].cumsum()[::-1]
    rows = len(stated)
    each = last - first + 1
    up, down = np.repeat(precise - value + gains, each), np.repeat(-losses, each)
    moved = np.empty(rows)
    moved[order] = np.where(marked > 0, up, down) * rows / positives
    ends = (positives / rows - value, 1.0 - value + float(gains[0]))
    return value, moved, (ends[0] * rows / positives, ends[1] * rows / positives)


def _ranks(
    stated: Floats, has: Marks, place: tuple[int, int]
) -> tuple[NDArray[np.intp], Floats, NDArray[np.intp]]:
    """Columns of the sums by falling probability, which of them have the label, and where rows of
    equal probability end."""
    index, m = place
    rows = len(stated)
    last, first = rows + index, rows + m + index
    order = np.argsort(-stated, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(stated[order])), rows - 1)
    columns = np.concatenate([[first], order, [last]])
    marked = np.concatenate([[1.0], has[order].astype(float), [1.0]])
    return columns, marked, np.concatenate([[0], ends + 1, [rows + 1]])


def _average_precision(
    sums: Floats, order: NDArray[np.intp], has: Floats, ends: NDArray[np.intp]
) -> tuple[Floats, Floats]:
    """(…) of each draw, and (…) its rows with the label."""
    weight = sums[..., order]
    everyone = weight.cumsum(-1)[..., ends]
    hits = (weight * has).cumsum(-1)[..., ends]
    before = np.concatenate([np.zeros((*hits.shape[:-1], 1)), hits[..., :-1]], -1)
    total = hits[..., -1]
    return divide(((hits - before) * divide(hits, everyone)).sum(-1), total), total

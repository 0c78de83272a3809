"""Average precision: AP = Σ_n (R_n − R_{n−1}) · P_n, over the distinct stated probabilities.

It is no function of few sums: every row is a kind of its own, and the sums are how often each row
is there. Behind them stand two rows a label that are not: one with the label that is ranked last,
and one that is ranked first.
"""

import numpy as np
from numpy.typing import NDArray

from sartor.judge.api import CannotMeasure
from sartor.judge.statistic import Floats, Statistic, divide

Marks = NDArray[np.bool_]
_RANKED = 4_000
"""Rows beyond which their ranks would take more memory than they are worth."""


def mean_average_precision(stated: Floats, truth: Marks, metric: str = "map") -> Statistic:
    """Mean over labels of their average precision; labels that no row has are left out.

    Args:
        stated: (rows, labels).
        truth: (rows, labels).
        metric: As the need calls it.

    Raises:
        CannotMeasure: Of more rows than their ranks may take memory for.
    """
    rows = len(truth)
    if rows > _RANKED:
        raise CannotMeasure(
            f"{metric} ranks rows against one another, and {rows:,} are more than {_RANKED:,}.",
            fix="ask for a metric that counts, such as f1_macro or auc, or judge fewer rows.",
        )
    seen = np.flatnonzero(truth.any(0))
    m, width = len(seen), rows + 2 * len(seen)
    ranks = [_ranks(stated[:, c], truth[:, c], (i, m)) for i, c in enumerate(seen)]

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
        trials=np.concatenate([np.ones(rows), np.zeros(2 * m)]),
    )


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

"""Precision, recall and F1 of one label, as scikit-learn defines them (undefined ratios are 0)."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from sartor.judge.statistic import Floats, Statistic, divide, proportion


def of_label(metric: str, has: NDArray[np.bool_], said: NDArray[np.bool_]) -> Statistic:
    """Precision, recall or F1 of a label.

    Args:
        metric: One of the three.
        has: (rows,) whether a row has the label.
        said: (rows,) whether it was given it.
    """
    if metric == "recall":
        return proportion(has & said, has)
    if metric == "precision":
        return proportion(has & said, said)
    return f1(has & said, has | said)


def f1(both: NDArray[np.bool_], either: NDArray[np.bool_]) -> Statistic:
    """F1 = 2J / (1 + J) with J = TP / (TP + FP + FN), a proportion: so its interval is exact."""
    jaccard = proportion(both, either)

    def scale(share: Floats) -> Floats:
        return 2 * share / (1 + share)

    return Statistic(
        kinds=jaccard.kinds,
        code=jaccard.code,
        value=lambda sums: scale(jaccard.value(sums)),
        lowers=jaccard.lowers,
        raises=jaccard.raises,
        trials=jaccard.trials,
        proportion=scale,
    )


def _precisions(hits: Floats, true: Floats, said: Floats) -> Floats:
    return divide(hits, said)


def _recalls(hits: Floats, true: Floats, said: Floats) -> Floats:
    return divide(hits, true)


def _f1s(hits: Floats, true: Floats, said: Floats) -> Floats:
    return divide(2 * hits, true + said)


Ratio = Callable[[Floats, Floats, Floats], Floats]
"""Hits, rows with the label and rows given it, to a number; 0 where it is undefined."""
RATIOS: Mapping[str, Ratio] = {
    "precision": _precisions,
    "recall": _recalls,
    "f1": _f1s,
}

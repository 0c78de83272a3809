"""Precision, recall and F1, of one label or over all, as scikit-learn defines them (undefined
ratios are 0)."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sartor.judge.statistic import Floats, Statistic, divide, proportion
from sartor.need.criterion import Criterion


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


def micro(
    ratio: "Ratio", counts: tuple[Floats, Floats, Floats], counted: NDArray[np.bool_] | None = None
) -> Statistic:
    """A ratio of sums over rows; sums are (hits, true, said, rows that count).

    Args:
        ratio: Of the first three.
        counts: (rows,) each: hits, what is true, what was said.
        counted: (rows,) which rows are behind the value; all when None.
    """
    behind = np.ones(len(counts[0])) if counted is None else counted.astype(np.float64)
    kinds, code = np.unique(np.column_stack([*counts, behind]), axis=0, return_inverse=True)
    return Statistic(
        kinds=kinds.astype(np.float64),
        code=code.reshape(-1).astype(np.int64),
        value=lambda sums: ratio(sums[..., 0], sums[..., 1], sums[..., 2]),
        # A row in which something was missed, and something else said in its place.
        lowers=np.array([[0.0, 1.0, 1.0, 1.0]]),
        raises=np.array([[1.0, 1.0, 1.0, 1.0]]),
        trials=np.array([0.0, 0.0, 0.0, 1.0]),
    )


def averaged(ratio: "Ratio", counts: tuple[Floats, Floats, Floats], *, weighted: bool) -> Statistic:
    """A mean of ratios over labels; sums are (hits, true, said), a block of one number a label
    each, and rows. Labels that no row has and none was given are left out.

    Args:
        ratio: Of hits, true and said.
        counts: (rows, labels) each.
        weighted: Whether labels count as often as they occur.
    """
    rows, k = counts[0].shape
    columns = np.hstack([*counts, np.ones((rows, 1))])
    kinds, code = np.unique(columns, axis=0, return_inverse=True)

    def value(sums: Floats) -> Floats:
        hits, true, given = sums[..., :k], sums[..., k : 2 * k], sums[..., 2 * k : 3 * k]
        weight = true if weighted else ((true + given) > 0).astype(float)
        return divide((ratio(hits, true, given) * weight).sum(-1), weight.sum(-1))

    seen = np.flatnonzero(counts[1].any(0))
    own = np.eye(k)[seen if len(seen) else slice(None)]
    elsewhere = (1 - own) / max(k - 1, 1)
    one = np.ones((len(own), 1))
    return Statistic(
        kinds=kinds.astype(np.float64),
        code=code.reshape(-1).astype(np.int64),
        value=value,
        lowers=np.hstack([np.zeros_like(own), own, elsewhere, one]),
        raises=np.hstack([own, own, own, one]),
        trials=np.append(np.zeros(3 * k), 1.0),
    )


Ratio = Callable[[Floats, Floats, Floats], Floats]
"""Hits, rows with the label and rows given it, to a number; 0 where it is undefined."""
RATIOS: Mapping[str, Ratio] = {
    "precision": _precisions,
    "recall": _recalls,
    "f1": _f1s,
}


def metrics_by_label(unit: str, right: str, further: Mapping[str, str]) -> dict[str, str]:
    """Names and meanings of the three ratios, of one label and over all.

    Args:
        unit: What is given labels, in the plural.
        right: What those are that were rightly given one, after "the share that".
        further: Other ways to bring the labels together than by averaging, with their meanings.
    """
    hows = {
        "macro": "averaged over labels, each counting the same",
        "weighted": "averaged over labels, each counting as often as it occurs",
        **further,
    }
    return {
        "precision": f"of the {unit} given the label, the share that {right}; takes [label=…]",
        "recall": f"of the {unit} with the label, the share that are found; takes [label=…]",
        "f1": "harmonic mean of precision and recall; takes [label=…]",
        **{f"{name}_{how}": f"{name} {what}" for name in RATIOS for how, what in hows.items()},
    }


def rows_behind(criterion: Criterion, outputs: Sequence[str]) -> str:
    """Which rows make up the `n` of a label's recall, as `judge.api.Part` says it; else ""."""
    label = criterion.label(outputs)
    return f"label={label}" if label is not None and criterion.metric == "recall" else ""

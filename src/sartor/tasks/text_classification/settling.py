"""Fitting the decision rule on validation rows: class weights, abstention."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sartor.need.criterion import Criterion

_Z = 1.645  # one-sided 95 %
_ENOUGH = 4.0  # standard errors of margin: 2 to be proven on test rows, 2 for both samples' luck


def fit_weights(
    probabilities: NDArray[np.float64],
    truth: NDArray[np.intp],
    outputs: Sequence[str],
    criteria: Sequence[Criterion],
) -> NDArray[np.float64]:
    """Class weights that satisfy the per-label criteria with margin, at the least accuracy lost.

    Coordinate search over the labels that a criterion names; a label nobody asks about keeps
    weight 1. Every criterion counts by its margin in standard errors, up to a margin beyond which
    more is not worth accuracy.

    Returns:
        (classes,) positive weights.
    """
    wanted = [c for c in criteria if c.metric in _RATES and not c.relative_to and c.where is None]
    named = [i for c in wanted if (i := _class_of(c, outputs)) is not None]
    weights = np.ones(len(outputs))
    if not named:
        return weights
    grid = np.exp(np.linspace(-4.0, 4.0, 81))
    # From the mildest change outwards, so that of equally good weights the mildest is kept.
    grid = grid[np.argsort(np.abs(np.log(grid)), kind="stable")]
    for _ in range(3):
        before = weights.copy()
        for index in dict.fromkeys(named):
            scored: list[tuple[float, float]] = []
            for value in grid:
                weights[index] = value
                best = (probabilities * weights).argmax(1)
                scored.append(_worth(best, truth, outputs, wanted))
            weights[index] = grid[max(range(len(grid)), key=lambda i: scored[i])]
        if np.array_equal(before, weights):
            break
    return weights


def pick_threshold(
    confidence: NDArray[np.float64], right: NDArray[np.bool_], precision: float, coverage: float
) -> float:
    """The confidence above which to answer, so that precision and coverage are both clear.

    Of the thresholds whose precision is shown (Wilson bound), the one where the lesser of the two
    margins, in standard errors, is largest; a margin that is large enough counts no further, so
    that the rest of the room goes to answering more.

    Args:
        confidence: (examples,) probability of the chosen class.
        right: (examples,) whether it was right.
        precision: Asked of the answered rows, 0 to 1.
        coverage: Share of rows that should be answered; 0 for as many as the precision allows.

    Returns:
        Threshold on the confidence; 0 answers everything.
    """
    order = np.argsort(-confidence, kind="stable")
    n = np.arange(1, len(order) + 1)
    p = np.cumsum(right[order]) / n
    # Wilson score, lower end: Wilson 1927, doi:10.1080/01621459.1927.10502953
    middle = (p + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    reach = _Z / (1 + _Z**2 / n) * np.sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2))
    # Rows of equal confidence are answered together or not at all.
    ends = np.append(np.diff(confidence[order]) != 0, True)
    shown = np.flatnonzero((middle - reach >= precision) & ends)
    if not len(shown):
        last = int(np.ceil(coverage * len(order))) - 1
    elif coverage <= 0:
        last = int(shown[-1])
    else:
        share = n / len(order)
        spread = np.sqrt(np.maximum(share * (1 - share), 1 / len(order)) / len(order))
        clear = np.minimum((middle - precision) / reach * _Z, (share - coverage) / spread)
        clear = np.minimum(clear, _ENOUGH)[shown]
        last = int(shown[np.flatnonzero(clear == clear.max())[-1]])
    last = min(max(last, 0), len(order) - 1)
    return 0.0 if last == len(order) - 1 else float(confidence[order[last]])


_RATES = frozenset({"accuracy", "recall", "precision", "expected_cost"})


def _class_of(criterion: Criterion, outputs: Sequence[str]) -> int | None:
    label = criterion.label(outputs)
    return outputs.index(label) if label in outputs else None


def _worth(
    best: NDArray[np.intp],
    truth: NDArray[np.intp],
    outputs: Sequence[str],
    wanted: Sequence[Criterion],
) -> tuple[float, float]:
    """(sum of capped margins in standard errors, accuracy): larger is better."""
    margin = 0.0
    for criterion in wanted:
        if criterion.metric == "accuracy":
            rows, hit = np.ones(len(truth), bool), best == truth
        elif (index := _class_of(criterion, outputs)) is None:
            continue
        elif criterion.metric == "expected_cost":
            margin += min(_saved(criterion, best == index, truth == index), _ENOUGH)
            continue
        else:
            rows = (truth if criterion.metric == "recall" else best) == index
            hit = best == truth
        n = int(rows.sum())
        value = float(hit[rows].mean()) if n else 0.0
        error = max((value * (1 - value) / max(n, 1)) ** 0.5, 0.5 / max(n, 1))
        sign = 1 if criterion.wants_more else -1
        margin += min(sign * (value - criterion.threshold) / error, _ENOUGH)
    return round(margin, 9), float((best == truth).mean())


def _saved(criterion: Criterion, said: NDArray[np.bool_], true: NDArray[np.bool_]) -> float:
    """Margin of the mean cost below what is asked, in standard errors."""
    paid = costs(said, true, costs_of(criterion))
    error = max(float(paid.std()) / max(len(paid), 1) ** 0.5, 1e-9)
    sign = 1 if criterion.wants_more else -1
    return sign * (float(paid.mean()) - criterion.threshold) / error


def costs_of(criterion: Criterion) -> tuple[float, float]:
    """What a missed row with the label costs, and what one that is given it wrongly; 1 unsaid."""
    found = (criterion.parameter(name) for name in ("miss", "false_alarm"))
    miss, alarm = (float(v) if isinstance(v, int | float) else 1.0 for v in found)
    return miss, alarm


def costs(
    said: NDArray[np.bool_], true: NDArray[np.bool_], each: tuple[float, float]
) -> NDArray[np.float64]:
    """(rows,) cost of each answer.

    Args:
        said: (rows,), whether the label was given.
        true: (rows,), whether the row has it.
        each: See `costs_of`.
    """
    miss, alarm = each
    return miss * (true & ~said) + alarm * (said & ~true)

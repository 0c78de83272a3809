"""Fitting the decision rule on validation rows: class weights, and what wrong answers cost."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sartor.need.criterion import Criterion
from sartor.tasks._decision.margins import margin, movable, share_error


def fit_weights(
    probabilities: NDArray[np.float64],
    truth: NDArray[np.intp],
    outputs: Sequence[str],
    criteria: Sequence[Criterion],
    count: float = 1.0,
) -> NDArray[np.float64]:
    """Class weights that satisfy the per-label criteria with margin, at the least accuracy lost.

    Coordinate search over the labels that a criterion names; a label nobody asks about keeps
    weight 1. Every criterion counts by its margin in standard errors, up to a margin beyond which
    more is not worth accuracy.

    Args:
        probabilities: (rows, classes).
        truth: (rows,) class indices.
        outputs: Class names.
        criteria: Of the need.
        count: What a row counts as; see `counted`.

    Returns:
        (classes,) positive weights.
    """
    wanted = movable(criteria, _RATES)
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
                scored.append(_worth(best, truth, outputs, wanted, count))
            weights[index] = grid[max(range(len(grid)), key=lambda i: scored[i])]
        if np.array_equal(before, weights):
            break
    return weights


_RATES = frozenset({"accuracy", "recall", "precision", "expected_cost"})


def _class_of(criterion: Criterion, outputs: Sequence[str]) -> int | None:
    label = criterion.label(outputs)
    return outputs.index(label) if label in outputs else None


def _worth(
    best: NDArray[np.intp],
    truth: NDArray[np.intp],
    outputs: Sequence[str],
    wanted: Sequence[Criterion],
    count: float,
) -> tuple[float, float]:
    """(sum of capped margins in standard errors, accuracy): larger is better."""
    total = 0.0
    for criterion in wanted:
        if criterion.metric == "accuracy":
            rows, hit = np.ones(len(truth), bool), best == truth
        elif (index := _class_of(criterion, outputs)) is None:
            continue
        elif criterion.metric == "expected_cost":
            total += _saved(criterion, best == index, truth == index, count)
            continue
        else:
            rows = (truth if criterion.metric == "recall" else best) == index
            hit = best == truth
        n = int(rows.sum())
        value = float(hit[rows].mean()) if n else 0.0
        total += float(margin(criterion, value, share_error(value, n * count)))
    return round(total, 9), float((best == truth).mean())


def _saved(
    criterion: Criterion, said: NDArray[np.bool_], true: NDArray[np.bool_], count: float
) -> float:
    """Margin of the mean cost below what is asked."""
    paid = costs(said, true, costs_of(criterion))
    error = max(float(paid.std()) / max(len(paid) * count, 1) ** 0.5, 1e-9)
    return float(margin(criterion, float(paid.mean()), error))


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

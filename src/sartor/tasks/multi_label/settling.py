"""Fitting the decision rule on validation rows: calibration, then a threshold a label.

    p_k = σ(s · z_k + b_k),   the same slope s for all labels, an offset b_k for each

Platt scaling with the slope in common: Platt 1999; logits of labels that few rows have tell an
offset and no slope. Half a row with the label and half a row without it, both at the label's mean
logit, are added for each label, so that one which no validation row has keeps a finite offset.

A threshold is chosen by what the criteria ask for; without any that a threshold moves, by macro F1:
one threshold a label, tuned on held-out rows, is SCut of Yang 2001, doi:10.1145/383952.383975.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sartor.core.likelihood import Doubles, Truth
from sartor.core.protocols import Floats
from sartor.need.criterion import Criterion
from sartor.tasks._decision.margins import margin, movable, share_error

_GRID = np.array([0.5, *(0.5 + sign * 0.025 * step for step in range(1, 20) for sign in (-1, 1))])
"""Thresholds to choose from, the mildest change first: of equally good ones it is kept."""
_SLOPES = (0.02, 20.0)
_SWEEPS = 3
_STEPS = 50


@dataclass(frozen=True, slots=True)
class Calibration:
    """What turns logits into probabilities.

    Args:
        slope: The inverse of a temperature.
        offsets: (outputs,).
    """

    slope: float
    offsets: Doubles

    def probabilities(self, logits: Floats | Doubles) -> Doubles:
        """(rows, outputs)."""
        return sigmoid(self.slope * np.asarray(logits, np.float64) + self.offsets)


def sigmoid(values: Doubles) -> Doubles:
    """1 / (1 + e^−v), without overflow."""
    small = np.exp(-np.abs(values))
    return np.where(values >= 0, 1.0, small) / (1.0 + small)


def calibrate(logits: Floats, truth: Truth) -> Calibration:
    """Minimise the log-loss over slope and offsets, by Newton's method.

    Args:
        logits: (rows, outputs).
        truth: (rows, outputs), 1 where the row has the label.
    """
    z, y = np.asarray(logits, np.float64), np.asarray(truth, np.float64)
    if not len(z):
        return Calibration(1.0, np.zeros(z.shape[1]))
    middle = z.mean(0)
    weight = np.ones((len(z) + 2, 1))
    weight[-2:] = 0.5
    z = np.vstack([z, middle, middle])
    y = np.vstack([y, np.ones_like(middle), np.zeros_like(middle)])
    slope, offsets = 1.0, np.zeros(z.shape[1])
    loss = _loss(z, y, weight, slope, offsets)
    for _ in range(_STEPS):
        p = sigmoid(slope * z + offsets)
        excess, curve = weight * (p - y), weight * np.maximum(p * (1 - p), 1e-9)
        # The Hessian is an arrow: a diagonal of offsets, and one row and column of the slope.
        g_slope, g_offsets = float((excess * z).sum()), excess.sum(0)
        h_slope, h_both, h_offsets = float((curve * z * z).sum()), (curve * z).sum(0), curve.sum(0)
        rest = h_slope - float((h_both**2 / h_offsets).sum()) + 1e-9
        move = -(g_slope - float((h_both * g_offsets / h_offsets).sum())) / rest
        moves = -(g_offsets + h_both * move) / h_offsets
        step, found = 1.0, (slope, offsets, loss)
        while step > 1e-4:
            next_slope = float(np.clip(slope + step * move, *_SLOPES))
            tried = next_slope, offsets + step * moves
            if (now := _loss(z, y, weight, *tried)) < loss:
                found = (*tried, now)
                break
            step /= 2
        gained, (slope, offsets, loss) = loss - found[2], found
        if gained < 1e-10 * max(loss, 1e-12):
            break
    return Calibration(slope, offsets)


def _loss(z: Doubles, y: Doubles, weight: Doubles, slope: float, offsets: Doubles) -> float:
    wide = slope * z + offsets
    return float((weight * (np.logaddexp(0.0, wide) - y * wide)).sum())


def fit_thresholds(
    probabilities: Doubles,
    truth: Truth,
    outputs: Sequence[str],
    criteria: Sequence[Criterion],
    count: float = 1.0,
) -> Doubles:
    """(outputs,) thresholds that satisfy the criteria with margin, at the best macro F1.

    Coordinate search, label by label. Every criterion counts by its margin in standard errors, up
    to a margin beyond which more is not worth F1.

    Args:
        probabilities: (rows, outputs), calibrated.
        truth: (rows, outputs), 1 where the row has the label.
        outputs: Names of the labels.
        criteria: Those about slices or a baseline move nothing.
        count: What a row counts as; see `counted`.
    """
    y = np.asarray(truth) > 0
    wanted = movable(criteria, _MOVED)
    found = np.full(len(outputs), 0.5)
    if not len(y):
        return found
    state = _Said.of(probabilities, y)
    for _ in range(_SWEEPS):
        before = found.copy()
        for k in range(len(outputs)):
            options = state.options(k)
            worth = _worth(options, wanted, outputs, count)
            # The last key counts first; of equals the mildest, which stands first, is kept.
            best = int(np.lexsort((np.arange(len(_GRID)), -worth[1], -worth[0]))[0])
            found[k] = _GRID[best]
            state.take(k, float(_GRID[best]))
        if np.array_equal(before, found):
            break
    return found


@dataclass(frozen=True, slots=True)
class _Counts:
    """What the metrics are made of, for each option: arrays are (options, outputs) or (options,).

    Args:
        hits: Rows with the label that are found.
        said: Rows given the label.
        true: (outputs,) rows with the label.
        whole: Rows whose set is right.
        rows: Rows there are.
    """

    hits: Doubles
    said: Doubles
    true: Doubles
    whole: Doubles
    rows: int


@dataclass(slots=True)
class _Said:
    """Which labels are given to which row while thresholds are chosen."""

    probabilities: Doubles
    truth: NDArray[np.bool_]
    said: NDArray[np.bool_]

    @staticmethod
    def of(probabilities: Doubles, truth: NDArray[np.bool_]) -> "_Said":
        return _Said(probabilities, truth, probabilities >= 0.5)

    def take(self, k: int, threshold: float) -> None:
        self.said[:, k] = self.probabilities[:, k] >= threshold

    def options(self, k: int) -> _Counts:
        """The counts if label k had each threshold of the grid."""
        given = self.probabilities[:, k, None] >= _GRID  # (rows, options)
        own = self.truth[:, k, None]
        hits = np.tile((self.said & self.truth).sum(0, dtype=float), (len(_GRID), 1))
        said = np.tile(self.said.sum(0, dtype=float), (len(_GRID), 1))
        hits[:, k], said[:, k] = (given & own).sum(0), given.sum(0)
        others = np.delete(self.said == self.truth, k, 1).all(1)[:, None]
        return _Counts(
            hits,
            said,
            self.truth.sum(0, dtype=float),
            (others & (given == own)).sum(0).astype(float),
            len(self.truth),
        )


def _ratio(above: Doubles, below: Doubles) -> Doubles:
    above, below = np.broadcast_arrays(above, below)
    return np.divide(above, below, out=np.zeros(above.shape), where=below > 0)


def _precision(hits: Doubles, said: Doubles, true: Doubles) -> Doubles:
    return _ratio(hits, said)


def _recall(hits: Doubles, said: Doubles, true: Doubles) -> Doubles:
    return _ratio(hits, true)


def _f1(hits: Doubles, said: Doubles, true: Doubles) -> Doubles:
    return _ratio(2 * hits, said + true)


_RATIOS: dict[str, Callable[[Doubles, Doubles, Doubles], Doubles]] = {
    "precision": _precision,
    "recall": _recall,
    "f1": _f1,
}
_MOVED = frozenset(
    {
        *_RATIOS,
        *(f"{name}_{how}" for name in _RATIOS for how in ("macro", "micro", "weighted")),
        "subset_accuracy",
        "hamming_loss",
    }
)


def _worth(
    counts: _Counts, wanted: Sequence[Criterion], outputs: Sequence[str], count: float
) -> tuple[Doubles, Doubles]:
    """(options,) sums of capped margins in standard errors, and (options,) macro F1."""
    total = np.zeros(len(counts.whole))
    for criterion in wanted:
        if (measured := _measured(criterion, counts, outputs)) is None:
            continue
        value, n = measured
        total += margin(criterion, value, share_error(value, n * count))
    each = _f1(counts.hits, counts.said, counts.true)
    return total.round(9), each.mean(1).round(9)


def _measured(
    criterion: Criterion, counts: _Counts, outputs: Sequence[str]
) -> tuple[Doubles, Doubles | int] | None:
    """(options,) of the criterion's metric, and how many rows are behind each."""
    if criterion.metric == "subset_accuracy":
        return counts.whole / counts.rows, counts.rows
    if criterion.metric == "hamming_loss":
        wrong = counts.said + counts.true - 2 * counts.hits
        return wrong.sum(1) / (counts.rows * len(outputs)), counts.rows
    name, _, how = criterion.metric.partition("_")
    ratio = _RATIOS[name]
    if not how:
        label = criterion.label(outputs)
        if label not in outputs:
            return None
        k = outputs.index(label)
        n = {"recall": counts.true[k], "precision": counts.said[:, k]}.get(name, counts.true[k])
        return ratio(counts.hits[:, k], counts.said[:, k], counts.true[k]), np.asarray(n)
    if how == "micro":
        sums = counts.hits.sum(1), counts.said.sum(1), counts.true.sum()
        return ratio(*sums), np.asarray(counts.true.sum())
    each = ratio(counts.hits, counts.said, counts.true)
    if how == "weighted":
        share = counts.true / max(float(counts.true.sum()), 1.0)
        return (each * share).sum(1), counts.rows
    return each.mean(1), counts.rows

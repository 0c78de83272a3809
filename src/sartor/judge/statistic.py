"""A metric as a function of sums over rows.

Accuracy is Σ correct / Σ 1, macro F1 a function of the per-class counts, log-loss Σ loss / Σ 1.
Rows that add the same to the sums are one kind, so that a resample is a draw of kinds, not of rows,
and costs the same for a hundred rows as for a million.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Statistic:
    """A metric on rows.

    Args:
        kinds: (kinds, sums), what one row of each kind adds.
        code: (rows,), the kind of each row.
        value: (…, sums) to (…); must accept fractional sums.
        lowers: (m, sums), hypothetical rows that lower the value, e.g. one wrong answer a class.
        raises: (m, sums), hypothetical rows that raise it, in the same order.
        trials: (sums,), weights that turn the sums into the number of rows behind the value.
        proportion: For a binomial proportion, sums being (successes, trials): the increasing map
            from proportion to value. None for everything else.
        at_zero: Draws of the sums, (draws, sums), were the true value 0. For statistics that are
            biased upwards there, such as the calibration error.
    """

    kinds: Floats
    code: Ints
    value: Callable[[Floats], Floats]
    lowers: Floats
    raises: Floats
    trials: Floats
    proportion: Callable[[Floats], Floats] | None = None
    at_zero: Callable[[np.random.Generator, int], Floats] | None = None

    @property
    def counts(self) -> Ints:
        """(kinds,), rows of each kind."""
        return np.bincount(self.code, minlength=len(self.kinds))

    @property
    def sums(self) -> Floats:
        """(sums,), over the observed rows."""
        return self.counts @ self.kinds

    @property
    def n(self) -> int:
        """Rows behind the value: for a recall, the rows of that label."""
        return round(float(self.sums @ self.trials))

    @property
    def observed(self) -> float:
        return float(self.value(self.sums))


def difference(one: Statistic, other: Statistic) -> Statistic:
    """`one` minus `other`, paired: both on the same rows, in the same order."""
    pairs, code = np.unique(np.stack([one.code, other.code]), axis=1, return_inverse=True)
    width = one.kinds.shape[1]

    def value(sums: Floats) -> Floats:
        return one.value(sums[..., :width]) - other.value(sums[..., width:])

    return Statistic(
        kinds=np.hstack([one.kinds[pairs[0]], other.kinds[pairs[1]]]),
        code=code.reshape(-1).astype(np.int64),
        value=value,
        lowers=_beside(one.lowers, other.raises),
        raises=_beside(one.raises, other.lowers),
        trials=np.concatenate([one.trials, np.zeros(other.kinds.shape[1])]),
    )


def _beside(left: Floats, right: Floats) -> Floats:
    # The same metric on other answers may know fewer ways to be wrong: those are taken again.
    rows = np.arange(max(len(left), len(right)))
    return np.hstack([left[rows % len(left)], right[rows % len(right)]])


def proportion(success: NDArray[np.bool_], trial: NDArray[np.bool_] | None = None) -> Statistic:
    """The share of trials that succeed.

    Args:
        success: (rows,).
        trial: (rows,), which rows count at all; every row when None. A success is a trial.
    """
    counted = np.ones(len(success), dtype=bool) if trial is None else trial
    return Statistic(
        kinds=np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0]]),
        code=(counted.astype(np.int64) + (success & counted)).astype(np.int64),
        value=_ratio,
        lowers=np.array([[0.0, 1.0]]),
        raises=np.array([[1.0, 1.0]]),
        trials=np.array([0.0, 1.0]),
        proportion=_same,
    )


def mean(
    values: Floats, at_least: float, at_most: float, counted: NDArray[np.bool_] | None = None
) -> Statistic:
    """The mean of a number a row; a hypothetical row is `at_least` or `at_most`.

    Args:
        values: (rows,).
        at_least: Of a value.
        at_most: Of a value.
        counted: (rows,), which rows count at all; every row when None.
    """
    weights = np.ones(len(values)) if counted is None else counted.astype(np.float64)
    return Statistic(
        kinds=np.column_stack([values * weights, weights]),
        code=np.arange(len(values)),
        value=_ratio,
        lowers=np.array([[at_least, 1.0]]),
        raises=np.array([[at_most, 1.0]]),
        trials=np.array([0.0, 1.0]),
    )


def divide(above: Floats, below: Floats) -> Floats:
    """`above / below`, 0 where `below` is 0."""
    return np.divide(above, below, out=np.zeros(np.shape(above)), where=below > 0)


def _ratio(sums: Floats) -> Floats:
    return divide(sums[..., 0], sums[..., 1])


def _same(share: Floats) -> Floats:
    return share

"""Statistics of two numbers a row, the truth t and what was said s, as functions of sums.

    Pearson   cov(t, s) / √(var t · var s)
    kappa     1 − E(t − s)² / (E t² + E s² − 2 E t · E s)     quadratic weights, Cohen 1968
    R²        1 − E(t − s)² / var t

Sums are of rows about means and in deviations, so that nothing is lost to rounding. The row that an
interval is widened by is the worst that was seen, or one that was answered blindly, with the mean.

Spearman's correlation is no function of few sums. To first order a resample moves it by the mean of
its influence (Croux and Dehon 2010, https://doi.org/10.1007/s10260-010-0142-z), which is what the
bootstrap here resamples; with F, G the mid-ranks as shares, a, b standardised:

    IF = ab − ρ (a² + b²) / 2 + E_j[H(x_j − x) (b_j − ρ a_j)] / σ_F + the same of y,   less its mean
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from sartor.judge.statistic import Floats, Statistic, divide, mean

_FAR = np.array([-2.0, 2.0])
"""Deviations from the mean at which hypothetical rows stand."""
_STEEP = 3.0
"""Largest a² of ranks, which are uniform."""
_FLAT = 1e-12
"""Variance, of standardised numbers, that is rounding."""


def pearson(truth: Floats, said: Floats) -> Statistic:
    """Correlation of (rows,) numbers; 0 where one side is constant."""
    kinds = _sums(_standard(truth), _standard(said))
    return _widened(kinds, _correlation, _sums(_FAR, 0 * _FAR), _sums(_FAR, _FAR))


def kappa(truth: Floats, said: Floats) -> Statistic:
    """Quadratic weighted kappa of (rows,) levels; 0 where neither side varies."""
    unit, middle = _unit(truth)
    kinds = _sums((truth - middle) / unit, (said - middle) / unit)
    return _widened(kinds, _kappa, _sums(_FAR, 0 * _FAR), _sums(_FAR, _FAR))


def r_squared(truth: Floats, said: Floats) -> Statistic:
    """Share of the truth's variance that is explained, (rows,) numbers; 0 where it has none."""
    unit, middle = _unit(truth)
    kinds = _errors((truth - middle) / unit, (said - truth) / unit)
    return _widened(kinds, _explained, _errors(_FAR, _FAR), _errors(_FAR, 0 * _FAR))


def mean_absolute(errors: Floats, spread: float) -> Statistic:
    """Mean of |error|; a hypothetical row is as right as the best, or as wrong as the worst.

    Args:
        errors: (rows,).
        spread: Of the truth: an unseen row may be as wrong as that.
    """
    return _of_errors(np.abs(errors), spread)


def root_mean_square(errors: Floats, spread: float) -> Statistic:
    """√(mean error²); see `mean_absolute`."""
    found = _of_errors(errors**2, spread**2)
    return replace(found, value=lambda sums: np.sqrt(divide(sums[..., 0], sums[..., 1])))


def spearman(truth: Floats, said: Floats) -> Statistic:
    """Correlation of mid-ranks of (rows,) numbers; 0 where one side is constant."""
    a, b = (_standard(_mid_ranks(side) - 0.5) for side in (truth, said))
    observed = float((a * b).mean()) if len(a) else 0.0
    moved = a * b - observed * (a**2 + b**2) / 2
    moved += _by_rank(truth, b - observed * a) + _by_rank(said, a - observed * b)
    moved -= moved.mean() if len(moved) else 0.0

    def value(sums: Floats) -> Floats:
        return np.clip(observed + divide(sums[..., 0], sums[..., 1]), -1.0, 1.0)

    # A blind answer to the row at the end of the ranks: a² is largest there, and b is 0.
    blind = -observed * _STEEP / 2
    return Statistic(
        kinds=np.column_stack([moved, np.ones(len(moved))]),
        code=np.arange(len(moved)),
        value=value,
        lowers=np.array([[min(float(moved.min(initial=0.0)), blind), 1.0]]),
        raises=np.array([[_STEEP * (1 - observed), 1.0]]),
        trials=np.array([0.0, 1.0]),
    )


def _mid_ranks(values: Floats) -> Floats:
    """(rows,) ranks from 1, shared by equal values; scipy's own take half a second to import."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place]


def _widened(
    kinds: Floats, value: Callable[[Floats], Floats], blind: Floats, right: Floats
) -> Statistic:
    """A statistic of one kind a row, with the row that moves it most beside hypothetical ones."""
    moved = value(kinds.sum(0) + kinds) if len(kinds) else np.zeros(0)
    worst = kinds[[int(moved.argmin())]] if len(kinds) else blind[:1]
    return Statistic(
        kinds=kinds,
        code=np.arange(len(kinds)),
        value=value,
        lowers=np.vstack([blind, worst]),
        raises=np.vstack([right, right[:1]]),
        trials=np.eye(kinds.shape[1])[0],
    )


def _unit(truth: Floats) -> tuple[float, float]:
    """Deviation and mean; 1 where all are equal, and 0 where there are none."""
    return (float(truth.std()) or 1.0, float(truth.mean())) if len(truth) else (1.0, 0.0)


def _sums(t: Floats, s: Floats) -> Floats:
    return np.column_stack([np.ones(len(t)), t, s, t**2, s**2, t * s])


def _errors(t: Floats, error: Floats) -> Floats:
    return np.column_stack([np.ones(len(t)), t, t**2, error**2])


def _means(sums: Floats) -> list[Floats]:
    return [divide(sums[..., i], sums[..., 0]) for i in range(1, sums.shape[-1])]


def _correlation(sums: Floats) -> Floats:
    t, s, tt, ss, ts = _means(sums)
    below = np.sqrt(np.maximum(tt - t**2, 0.0) * np.maximum(ss - s**2, 0.0))
    return np.clip(divide(ts - t * s, np.where(below > _FLAT, below, 0.0)), -1.0, 1.0)


def _kappa(sums: Floats) -> Floats:
    t, s, tt, ss, ts = _means(sums)
    return _share(np.maximum(tt + ss - 2 * ts, 0.0), tt + ss - 2 * t * s)


def _explained(sums: Floats) -> Floats:
    t, tt, apart = _means(sums)
    return _share(apart, tt - t**2)


def _share(apart: Floats, whole: Floats) -> Floats:
    """1 − apart / whole; 0 where the whole is nothing."""
    return np.where(whole > _FLAT, 1 - divide(apart, np.where(whole > _FLAT, whole, 0.0)), 0.0)


def _of_errors(errors: Floats, spread: float) -> Statistic:
    worst = max(float(errors.max(initial=0.0)), spread)
    return mean(errors, float(errors.min(initial=worst)), worst)


def _standard(values: Floats) -> Floats:
    deviation = float(values.std()) if len(values) else 0.0
    return (values - values.mean()) / deviation if deviation > 0 else np.zeros(len(values))


def _by_rank(values: Floats, weights: Floats) -> Floats:
    """(rows,) what moving a row does through the ranks of all others."""
    shares = (_mid_ranks(values) - 0.5) / max(len(values), 1)
    deviation = float(shares.std()) if len(values) else 0.0
    if deviation <= 0:
        return np.zeros(len(values))
    names, place = np.unique(values, return_inverse=True)
    mass = np.bincount(place, weights, len(names)) / len(values)
    # Rows above a value count whole, equal ones half.
    above = mass[::-1].cumsum()[::-1] - mass / 2
    return above[place] / deviation

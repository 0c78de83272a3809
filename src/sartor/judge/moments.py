"""Statistics of two numbers a row, the truth t and what was said s, as functions of sums.

Sums are (1, t, s, t², s², ts) of rows in units of the truth's deviation about its mean, in which
nothing is lost to rounding; correlations and kappa do not see the change.

    Pearson   cov(t, s) / √(var t · var s)
    kappa     1 − E(t − s)² / (E t² + E s² − 2 E t · E s)     quadratic weights, Cohen 1968
    R²        1 − E(t − s)² / var t

Spearman's correlation is no function of few sums. To first order a resample moves it by the mean of
its influence (Croux and Dehon 2010, https://doi.org/10.1007/s10260-010-0142-z), which is what the
bootstrap here resamples; with F, G the mid-ranks as shares, a, b standardised:

    IF = ab − ρ (a² + b²) / 2 + E_j[H(x_j − x) (b_j − ρ a_j)] / σ_F + the same of y,   less its mean
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from sartor.judge.statistic import Floats, Statistic, divide, mean

_FAR = 2.0
"""Deviations from the mean at which hypothetical rows stand."""
_STEEP = 3.0
"""Largest a² of ranks, which are uniform."""


def pearson(truth: Floats, said: Floats) -> Statistic:
    """Correlation of (rows,) numbers; 0 where one side is constant."""
    return _of_moments(truth, said, _correlation)


def kappa(truth: Floats, said: Floats) -> Statistic:
    """Quadratic weighted kappa of (rows,) levels; 0 where neither side varies."""
    return _of_moments(truth, said, _kappa)


def r_squared(truth: Floats, said: Floats) -> Statistic:
    """Share of the truth's variance that is explained, (rows,) numbers; 0 where it has none."""
    return _of_moments(truth, said, _explained)


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

    return Statistic(
        kinds=np.column_stack([moved, np.ones(len(moved))]),
        code=np.arange(len(moved)),
        value=value,
        lowers=np.array([[-_STEEP * (1 + observed), 1.0]]),
        raises=np.array([[_STEEP * (1 - observed), 1.0]]),
        trials=np.array([0.0, 1.0]),
    )


def _mid_ranks(values: Floats) -> Floats:
    """(rows,) ranks from 1, shared by equal values; scipy's own take half a second to import."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place]


def _of_moments(truth: Floats, said: Floats, value: Callable[[Floats], Floats]) -> Statistic:
    unit = float(truth.std()) or 1.0
    middle = float(truth.mean()) if len(truth) else 0.0
    t, s = (truth - middle) / unit, (said - middle) / unit
    corners = np.array([-_FAR, _FAR])
    return Statistic(
        kinds=_sums(t, s),
        code=np.arange(len(t)),
        value=value,
        lowers=_sums(corners, -corners),
        raises=_sums(corners, corners),
        trials=np.array([1.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
    )


def _sums(t: Floats, s: Floats) -> Floats:
    return np.column_stack([np.ones(len(t)), t, s, t**2, s**2, t * s])


def _means(sums: Floats) -> tuple[Floats, ...]:
    return tuple(divide(sums[..., i], sums[..., 0]) for i in range(1, 6))


def _correlation(sums: Floats) -> Floats:
    t, s, tt, ss, ts = _means(sums)
    below = np.sqrt(np.maximum(tt - t**2, 0.0) * np.maximum(ss - s**2, 0.0))
    return np.clip(divide(ts - t * s, np.where(below > 1e-12, below, 0.0)), -1.0, 1.0)


def _kappa(sums: Floats) -> Floats:
    t, s, tt, ss, ts = _means(sums)
    apart, chance = np.maximum(tt + ss - 2 * ts, 0.0), tt + ss - 2 * t * s
    varies = chance > 1e-12
    return np.where(varies, 1 - divide(apart, np.where(varies, chance, 0.0)), 0.0)


def _explained(sums: Floats) -> Floats:
    t, _, tt, ss, ts = _means(sums)
    apart, spread = np.maximum(tt + ss - 2 * ts, 0.0), tt - t**2
    varies = spread > 1e-12
    return np.where(varies, 1 - divide(apart, np.where(varies, spread, 0.0)), 0.0)


def _of_errors(errors: Floats, spread: float) -> Statistic:
    worst = max(float(errors.max(initial=0.0)), spread)
    return mean(errors, float(errors.min(initial=worst)), worst)


def _standard(ranks: Floats) -> Floats:
    deviation = float(ranks.std()) if len(ranks) else 0.0
    return (ranks - ranks.mean()) / deviation if deviation > 0 else np.zeros(len(ranks))


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

"""Intervals: Clopper-Pearson for proportions, a widened bootstrap for everything else.

The percentile bootstrap of a metric near its edge is too short: sixty right answers of sixty give
[1, 1]. So its interval is widened to include a Bayesian bootstrap (Rubin 1981) with one pseudo-row:
an extra wrong row for the lower end, an extra right one for the upper end. For a proportion that
is Clopper-Pearson itself, whose lower end is the quantile of Beta(k, n - k + 1), k right rows
against n - k wrong ones and one more. Where there are several ways to be wrong (a class each), the
pseudo-row is placed where it hurts most, and also spread evenly: the wider of the two counts.

Clopper & Pearson 1934, https://doi.org/10.1093/biomet/26.4.404
"""

from collections.abc import Sequence
from math import comb

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from sartor.judge.statistic import Floats, Ints, Statistic

_DRAWS = 2000
_AT_ZERO = 1000
_MISSED = 0.05
_TAIL = 20  # Draws wanted beyond each end: fewer, and the end itself is mostly noise.
_KINDS = 2000
_CELLS = 4_000_000  # Bounds the memory of one block of draws (32 MB).


def clopper_pearson(
    k: NDArray[np.float64] | float, n: NDArray[np.float64] | float, alpha: float
) -> tuple[Floats, Floats]:
    """Exact interval of a binomial proportion.

    Args:
        k: Successes, any shape.
        n: Trials, same shape; (0, 1) comes back where it is 0.
        alpha: Two-sided error: each end misses with at most alpha / 2.
    """
    k, n = np.broadcast_arrays(np.asarray(k, float), np.asarray(n, float))
    some = (k > 0) & (n > 0)
    low = np.where(some, betaincinv(np.where(some, k, 1), n - k + 1, alpha / 2), 0.0)
    most = (k < n) & (n > 0)
    high = np.where(most, betaincinv(k + 1, np.where(most, n - k, 1), 1 - alpha / 2), 1.0)
    return low, high


def interval(
    statistic: Statistic, alpha: float, seed: int, groups: Sequence[str] | None = None
) -> tuple[float, float]:
    """The interval that a verdict rests on: exact where the statistic allows, else the bootstrap.

    Rows of one group are alike, so a proportion over groups is not binomial: the bootstrap again.
    """
    if statistic.proportion is not None and groups is None:
        successes, trials = statistic.sums
        low, high = clopper_pearson(successes, trials, alpha)
        return float(statistic.proportion(low)), float(statistic.proportion(high))
    return bootstrap(statistic, alpha, seed, groups)


def bootstrap(
    statistic: Statistic,
    alpha: float,
    seed: int,
    groups: Sequence[str] | None = None,
    draws: int = _DRAWS,
) -> tuple[float, float]:
    """Percentile interval over resampled rows or groups, widened by one pseudo-row.

    Args:
        statistic: On at least one row.
        alpha: Two-sided error.
        seed: Same seed, same interval.
        groups: Group of each row; None when rows are the unit.
        draws: At least so many; more are taken where `alpha` is small.
    """
    rng = np.random.default_rng(seed)
    units, counts, size = _units(statistic, groups, rng)
    draws = max(draws, int(_TAIL / (alpha / 2)))
    plain = _values(statistic, units, counts, draws, rng)
    ends = np.quantile(plain, [alpha / 2, 1 - alpha / 2])
    observed = statistic.observed
    low, high = min(ends[0], observed), max(ends[1], observed)
    for pseudo in _placements(statistic, statistic.lowers, -1):
        smooth = _smoothed(statistic, units, counts, draws, rng, pseudo * size)
        low = min(low, float(np.quantile(smooth, alpha / 2)))
    for pseudo in _placements(statistic, statistic.raises, +1):
        smooth = _smoothed(statistic, units, counts, draws, rng, pseudo * size)
        high = max(high, float(np.quantile(smooth, 1 - alpha / 2)))
    if statistic.at_zero is not None:
        low = _unbiased(statistic, low, 2 * observed - ends[1], alpha, rng)
    return float(low), float(high)


def spread(per_process: Floats) -> tuple[float, float]:
    """An interval of the median of a figure taken once in each of some fresh processes.

    The k-th lowest and the k-th highest enclose it with 1 - 2 P(fewer than k of n on one side), a
    side being as likely as the other, whatever the distribution: the largest k that leaves 95 %.
    That is the range of six (97 %) and of as few as there may be, and the third of twelve (96 %).
    Order statistics: David & Nagaraja 2003, section 7.1.
    """
    ordered, count = np.sort(per_process), len(per_process)
    beside = np.cumsum([comb(count, fewer) for fewer in range(count)]) / 2**count
    left_out = max(int((2 * beside <= _MISSED).sum()) - 1, 0)
    return float(ordered[left_out]), float(ordered[-1 - left_out])


def _units(
    statistic: Statistic, groups: Sequence[str] | None, rng: np.random.Generator
) -> tuple[Floats, Floats, float]:
    """What is drawn: the sums of each unit, how often each was seen, rows in a mean unit."""
    if groups is not None:
        names, member = np.unique(np.asarray(groups), return_inverse=True)
        units = _pooled(statistic, member.reshape(-1), len(names))
        return units, np.ones(len(names)), len(statistic.code) / len(names)
    seen = statistic.counts
    if (seen > 0).sum() <= _KINDS:
        return statistic.kinds[seen > 0], seen[seen > 0].astype(float), 1.0
    # Sums over random pools vary as sums over rows do, and there are few enough of them.
    member = rng.permutation(len(statistic.code)) % _KINDS
    return _pooled(statistic, member, _KINDS), np.ones(_KINDS), 1.0


def _pooled(statistic: Statistic, member: Ints, count: int) -> Floats:
    units = np.zeros((count, statistic.kinds.shape[1]))
    np.add.at(units, member, statistic.kinds[statistic.code])
    return units


def _values(
    statistic: Statistic, units: Floats, counts: Floats, draws: int, rng: np.random.Generator
) -> Floats:
    total = int(counts.sum())
    blocks = [
        statistic.value(rng.multinomial(total, counts / total, size) @ units)
        for size in _blocks(draws, len(units) + units.shape[1])
    ]
    return np.concatenate(blocks)


def _smoothed(
    statistic: Statistic,
    units: Floats,
    counts: Floats,
    draws: int,
    rng: np.random.Generator,
    pseudo: Floats,
) -> Floats:
    """Gamma weights, a Dirichlet but for the common factor, which no ratio sees."""
    blocks: list[Floats] = []
    for size in _blocks(draws, len(units) + units.shape[1]):
        sums = rng.standard_gamma(counts, (size, len(units))) @ units
        sums += rng.standard_gamma(1 / len(pseudo), (size, len(pseudo))) @ pseudo
        blocks.append(statistic.value(sums))
    return np.concatenate(blocks)


def _placements(statistic: Statistic, rows: Floats, sign: int) -> list[Floats]:
    """Where the pseudo-row goes: wholly on the row that moves the value most, or spread evenly."""
    if len(rows) == 1:
        return [rows]
    moved = sign * statistic.value(statistic.sums + rows)
    return [rows[[int(np.argmax(moved))]], rows]


def _unbiased(
    statistic: Statistic, low: float, basic: float, alpha: float, rng: np.random.Generator
) -> float:
    """Lower end for a statistic that noise alone pushes above 0.

    Consistency resampling (Bröcker & Smith 2007): 0 unless chance seldom gives that much; otherwise
    the lowest of the bootstrap's ends and of the value without the mean of pure chance.
    """
    if statistic.at_zero is None:
        return low
    chance = statistic.value(statistic.at_zero(rng, _AT_ZERO))
    if statistic.observed <= np.quantile(chance, 1 - alpha / 2):
        return 0.0
    return max(0.0, min(low, basic, statistic.observed - float(chance.mean())))


def _blocks(draws: int, width: int) -> list[int]:
    size = max(1, min(draws, _CELLS // max(width, 1)))
    return [min(size, draws - start) for start in range(0, draws, size)]

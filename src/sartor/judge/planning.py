"""How many rows a proof takes, and what a number of rows can prove."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import bdtrik, betainc, betaincinv, ndtri

from sartor.judge.alpha import two_sided
from sartor.judge.api import Part
from sartor.judge.statistic import Floats
from sartor.need.criterion import Bound, Criterion

_USUAL = 0.7
"""Chance that the planned rows are enough."""
_MOST = 1_000_000
_IN_UNITS = frozenset({"mae", "rmse", "interval_width"})
"""Metrics in the answers' own unit: no proportion stands for them."""
_RANGE = (0.5, 0.9)
"""Chances at the two ends of a stated range of further rows."""


def rows_needed(
    criterion: Criterion, assumed_truth: float, *, look: int = 1, chance: float = _USUAL
) -> int | None:
    """Rows that count (for a recall: of that label) to show the criterion, were the truth this.

    Binomial metrics exactly; averaged ones (macro F1) as if they were accuracies.

    Args:
        criterion: Not of the artefact.
        assumed_truth: In the metric's unit; with a baseline, the difference.
        look: Which look at the rows it will be.
        chance: That so many rows are enough.

    Returns:
        None if no number up to a million is enough: the truth is on the wrong side, or on the edge.
    """
    alpha = two_sided(criterion.confidence, look)
    if criterion.relative_to:
        return _paired_rows(criterion.threshold, assumed_truth, alpha, chance)
    threshold, truth = criterion.threshold, assumed_truth
    if not criterion.wants_more:
        threshold, truth = 1 - threshold, 1 - truth
    return binomial_rows(threshold, truth, alpha / 2, chance)


def binomial_rows(threshold: float, truth: float, error: float, chance: float) -> int | None:
    """Fewest rows whose Clopper-Pearson lower end reaches `threshold` with the wanted chance.

    Args:
        threshold: To be shown.
        truth: The assumed proportion.
        error: One-sided.
        chance: That so many rows are enough.
    """
    if truth <= threshold:
        return None
    if threshold <= 0:
        return 1
    start, size = 1, 256
    while start < _MOST:
        n = np.arange(start, start + size, dtype=np.float64)
        enough = np.flatnonzero(_power(n, threshold, truth, error) >= chance)
        if len(enough):
            return start + int(enough[0])
        start, size = start + size, size * 2
    return None


def provable(n: int, assumed_truth: float, *, confidence: float = 0.95, look: int = 1) -> float:
    """The highest proportion that `n` rows can be expected to prove, were the truth this.

    The Clopper-Pearson lower end of the observation that is reached with the usual chance.
    """
    error = two_sided(confidence, look) / 2
    k = _reached(n, assumed_truth)
    return float(betaincinv(k, n - k + 1, error)) if k > 0 else 0.0


def truth_needed(
    n: int, threshold: float, *, confidence: float = 0.95, look: int = 1
) -> float | None:
    """The smallest true proportion at which `n` rows prove `threshold` with the usual chance.

    None where even a faultless sample of `n` proves less.
    """
    error = two_sided(confidence, look) / 2
    count = np.array([float(n)])
    if _power(count, threshold, 1.0, error)[0] < 1:
        return None
    low, high = threshold, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        enough = _power(count, threshold, middle, error)[0] >= _USUAL
        low, high = (low, middle) if enough else (middle, high)
    return high


def planned_test_rows(criteria: Sequence[Criterion], label_shares: Mapping[str, float]) -> int:
    """Test rows that the criteria ask for, all labels in their natural shares.

    Assumes a truth five points better than each threshold, or half-way to perfect where that is
    nearer. Criteria that do not count rows, or that have no label of that name, ask for none.
    """
    return max((_planned(criterion, label_shares) for criterion in criteria), default=0)


def more_rows(
    part: Part, ends: tuple[float, float], alpha: float, then: float
) -> tuple[int, int] | None:
    """Range of further rows that would decide, were the truth what was observed.

    The two ends are enough with a chance of 50 % and of 90 %.

    Args:
        part: What is not decided yet.
        ends: The present interval.
        alpha: Its two-sided error.
        then: Two-sided error of the interval over all rows, the further ones included.

    Returns:
        None where a million rows would not decide.
    """
    statistic, n = part.statistic, part.statistic.n
    observed = statistic.observed
    distance = abs(observed - part.threshold)
    if n == 0 or distance == 0:
        return None
    half = observed - ends[0] if observed > part.threshold else ends[1] - observed
    needed: list[int] = []
    for chance in _RANGE:
        # The half-width shrinks with the root of the rows, and so does the noise to be outrun.
        sigmas = max(0.0, float(ndtri(chance))) - float(ndtri(then / 2))
        slack = sigmas / -float(ndtri(alpha / 2))
        total = n * (half * slack / distance) ** 2
        if total > _MOST:
            return None
        needed.append(max(1, int(np.ceil(total)) - n))
    return needed[0], max(needed)


def fresh_rows(total: int, confidence: float) -> int:
    """Fresh rows that decide as surely as `total` do of which some were looked at once before.

    For the upper end of `more_rows`: a first look at rows spends three times what a second does. Of
    rows that were looked at more often, fewer would do than this says.
    """
    again = float(ndtri(_RANGE[1]))
    first, second = (again - float(ndtri(two_sided(confidence, look) / 2)) for look in (1, 2))
    return int(np.ceil(total * (first / second) ** 2))


def _power(n: Floats, threshold: float, truth: float, error: float) -> Floats:
    """Chance that the lower end reaches the threshold, for each n."""
    # k successes prove it if so many would come with probability <= error at the threshold. The
    # quantile may be off by one where the probability is met exactly, so it is checked.
    least = np.maximum(np.nan_to_num(np.ceil(bdtrik(1 - error, n, threshold))), 0) + 1
    least = np.where(_at_least(least, n, threshold) > error, least + 1, least)
    least = np.where(_at_least(least - 1, n, threshold) <= error, least - 1, least)
    return _at_least(least, n, truth)


def _at_least(k: Floats, n: Floats, p: float) -> Floats:
    """Chance of `k` or more successes of `n`: the incomplete beta function, 0 beyond n."""
    inside = (k > 0) & (k <= n)
    tail = betainc(np.where(inside, k, 1), np.where(inside, n - k + 1, 1), p)
    return np.where(inside, tail, np.where(k <= 0, 1.0, 0.0))


def _reached(n: int, truth: float) -> int:
    """The count that is reached with the usual chance."""
    k = np.arange(n + 1, dtype=np.float64)
    return int(np.flatnonzero(_at_least(k, np.full_like(k, n), truth) >= _USUAL)[-1])


def _paired_rows(margin: float, truth: float, alpha: float, chance: float) -> int | None:
    """Rows to show a difference above `margin`; a quarter of the rows are taken to differ."""
    if truth <= margin:
        return None
    differing = max(0.25, abs(truth))
    spread = differing - truth**2
    sigmas = -float(ndtri(alpha / 2)) + float(ndtri(chance))
    return int(np.ceil(spread * (sigmas / (truth - margin)) ** 2))


def _planned(criterion: Criterion, shares: Mapping[str, float]) -> int:
    bound = criterion.parameter("precision")
    if isinstance(bound, Bound):
        inner = Criterion(criterion.text, "precision", bound.comparison, bound.value)
        return max(_rows(inner, max(criterion.threshold, 0.05)), _rows(criterion, 1.0))
    label = criterion.parameter("label")
    if isinstance(label, str | float):
        name = label if isinstance(label, str) else f"{label:g}"
        return _rows(criterion, shares[name]) if shares.get(name) else 0
    return _rows(criterion, 1.0)


def _rows(criterion: Criterion, share: float) -> int:
    threshold = criterion.threshold
    if criterion.metric in _IN_UNITS:
        return 0
    if criterion.relative_to:
        truth = threshold + 0.05
    elif not 0 <= threshold < 1 or (threshold == 0 and not criterion.wants_more):
        return 0
    elif criterion.wants_more:
        truth = threshold + min(0.05, (1 - threshold) / 2)
    else:
        truth = threshold - min(0.05, threshold / 2)
    needed = rows_needed(criterion, truth)
    return int(np.ceil(needed / share)) if needed else 0

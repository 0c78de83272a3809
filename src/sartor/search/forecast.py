"""What would more labels buy? Heads on growing parts of the training rows, and their curve.

Heads are fitted in closed form on cached activations, so a curve of seventeen fits costs seconds.
For a criterion of one class only that class grows, and the answer counts its rows. Doubt comes from
the validation rows (bootstrap), from which training rows were drawn, and from which curve it is.

A part of share f overlaps every other: between repetitions the variance is (1 − f)·s², and f·s² is
what they have in common. s² falls as 1/n; it is estimated over all parts together.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

import numpy as np

from sartor.core.protocols import Floats
from sartor.core.strata import names_of, strata
from sartor.core.types import Examples
from sartor.judge.alpha import two_sided
from sartor.judge.intervals import interval
from sartor.judge.next_steps import label_of
from sartor.judge.planning import truth_needed
from sartor.judge.verdicts import RowsBehind, gather
from sartor.need.criterion import Criterion
from sartor.search.assess import Held
from sartor.search.curves import INTERVAL, Doubles, Measured, fit

SHARES = (0.1, 0.2, 0.4, 0.8, 1.0)
_REPEATS = 4
_DRAWS = 400
_PSEUDO = 0.5
_MOST_ROWS = 20_000
"""Parts grow up to here; beyond, fits would cost minutes and say little more."""
_LEAST_ROWS = 40
_UNLIKELY = (1 - INTERVAL) / 2
"""Chance below which no number of rows is said to be enough."""
_SHOWN = 8.0
"""Times the present rows that the drawn curve reaches at most."""
_STEPS = 24

Head = Callable[[Sequence[int]], Floats]
"""Indices of training rows to (validation rows, outputs): the logits of a head fitted on them."""


@dataclass(frozen=True, slots=True)
class Band:
    """A curve with its interval, in the metric's unit.

    Args:
        rows: Training rows that count.
        value: Median.
        low: Lower end of the 80 % interval.
        high: Upper end.
    """

    rows: tuple[float, ...]
    value: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Forecast:
    """What more training rows would do for one criterion.

    Args:
        criterion: Its text.
        label: Whose rows are counted; "" for all.
        rows: Training rows of that kind there are.
        value: On validation rows at present.
        target: Value that the test rows can be expected to prove.
        low: Further rows at the lower end of the 80 % interval; None where no number will do.
        high: Upper end; None where it lies beyond what can be foreseen.
        chance: That any number up to a hundred times the present reaches the target.
        measured: The curve as measured.
        expected: The curve as fitted, and beyond.
        first: The class whose rows are worth most; "" where none stands out.
    """

    criterion: str
    label: str
    rows: int
    value: float
    target: float
    low: int | None
    high: int | None
    chance: float
    measured: Band
    expected: Band
    first: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Grown:
    """The validation answers of heads on growing parts.

    Args:
        rows: (points,), rows that count in each part.
        share: (points,), of all such rows.
        logits: For each point, the logits of its repetitions.
    """

    rows: Doubles
    share: Doubles
    logits: tuple[tuple[Floats, ...], ...]


def grow(train: Examples, label: str, head: Head, *, seed: int = 0) -> Grown | None:
    """Fit heads on growing parts of the training rows; None where there are too few to grow.

    Args:
        train: Training rows.
        label: The class whose rows grow while the others stay; "" for all rows, in their shares.
        head: Fits one.
        seed: Of the parts.
    """
    rng = np.random.default_rng(seed)
    kinds: dict[str, list[int]] = {}
    stratum = strata(train.target)
    for row in rng.permutation(len(train)).tolist()[:_MOST_ROWS]:
        # Rows with the label are one kind, whatever other labels they have.
        has = label and label in names_of(train.target[row])
        kinds.setdefault(label if has else stratum[row], []).append(row)
    growing = {k: v for k, v in kinds.items() if not label or k == label}
    total = sum(map(len, growing.values()))
    if total < _LEAST_ROWS or len(kinds) < 2:
        return None
    kept = [row for name, rows in kinds.items() if name not in growing for row in rows]
    counts: list[float] = []
    logits: list[tuple[Floats, ...]] = []
    for share in SHARES:
        repeats: list[Floats] = []
        part: list[int] = []
        for _ in range(_REPEATS if share < 1 else 1):
            part = [
                row
                for rows in growing.values()
                for row in rng.permutation(rows)[: max(2, round(share * len(rows)))].tolist()
            ]
            repeats.append(head(sorted([*kept, *part])))
        counts.append(float(len(part)))
        logits.append(tuple(repeats))
    rows = np.array(counts)
    return Grown(rows, rows / rows[-1], tuple(logits))


def forecast(
    criterion: Criterion, held: Held, grown: Grown, *, rows: int, present: float | None = None
) -> Forecast | None:
    """How many more rows bring a criterion to where the test rows can prove it.

    Args:
        criterion: That counts rows.
        held: Validation rows, and how large the test set is.
        grown: From `grow`, with the criterion's label.
        rows: Training rows that count at present.
        present: The value of the candidate that was chosen, where that is no head: its loss is
            taken to stand to the head's as it stands now.

    Returns:
        None where the criterion cannot be measured on the validation rows.
    """
    behind = [
        [rows_behind(criterion, held, logits) for logits in repeats] for repeats in grown.logits
    ]
    found = [[b for b in repeats if b is not None] for repeats in behind]
    if not all(found):
        return None
    rng = np.random.default_rng(held.seed)
    losses, spread = _losses(criterion, found, rng)
    noise = _noise(losses.observed, grown)
    draws = _with_noise(losses, grown, noise, rng)
    own = noise**2 * (grown.share + (1 - grown.share) / losses.repeats)
    measured = Measured(grown.rows, draws, np.sqrt(own + (0.25 * spread) ** 2))
    fan = fit(measured, seed=held.seed)
    last = found[-1][0]
    value = last.parts[0].statistic.observed if present is None else present
    scale = _ratio(_loss(criterion, value), float(losses.mean[-1]))
    target = _target(criterion, last, held)
    needed = fan.reaching(_loss(criterion, target) / scale)
    low, high = np.quantile(needed, [_UNLIKELY, 1 - _UNLIKELY], method="inverted_cdf")
    chance = float(np.isfinite(needed).mean())
    ahead = 2.0 * rows if not np.isfinite(low) else min(1.5 * low, _SHOWN * rows)
    grid = np.geomspace(grown.rows[0], max(ahead, 1.5 * rows), _STEPS)
    return Forecast(
        criterion=criterion.text,
        label=label_of(criterion),
        rows=rows,
        value=value,
        target=target,
        low=int(max(0, np.ceil(low - rows))) if np.isfinite(low) else None,
        high=int(max(0, np.ceil(high - rows))) if np.isfinite(high) else None,
        chance=chance,
        measured=_band(criterion, grown.rows, scale * draws),
        expected=_band(criterion, grid, scale * np.column_stack([fan.at(n) for n in grid])),
    )


@dataclass(frozen=True, slots=True)
class _Losses:
    """Losses of every repetition.

    Args:
        observed: For each point (repetitions,), on the validation rows as they are.
        drawn: For each point (repetitions, draws), on resampled validation rows.
    """

    observed: tuple[Doubles, ...]
    drawn: tuple[Doubles, ...]

    @property
    def mean(self) -> Doubles:
        return np.array([point.mean() for point in self.observed])

    @property
    def repeats(self) -> Doubles:
        return np.array([float(len(point)) for point in self.observed])


def rows_behind(criterion: Criterion, held: Held, logits: Floats) -> RowsBehind | None:
    """What a criterion counts of the validation rows, as a head with such logits answers them; None
    where it cannot be measured on them."""
    decision = held.settle(logits)
    answers = held.task.decode(logits, held.outputs, decision, held.validation.texts)
    found = gather(criterion, held.subject(held.validation, answers))
    if not isinstance(found, RowsBehind) or found.parts[0].statistic.n == 0:
        return None
    return found


def _losses(
    criterion: Criterion, found: Sequence[Sequence[RowsBehind]], rng: np.random.Generator
) -> tuple[_Losses, float]:
    """(losses, their standard deviation over the validation rows); all see the same resamples."""
    first = found[0][0]
    units: Any = first.groups if first.groups is not None else range(len(first.rows))
    names, member = np.unique(np.asarray(units), return_inverse=True)
    weights = rng.standard_exponential((_DRAWS, len(names)))
    counts = (weights / weights.mean(1, keepdims=True))[:, member.reshape(-1)]
    # Half a pseudo-row for and half against: no error among few rows is no certainty.
    statistic = first.parts[0].statistic
    pseudo = sum(
        rng.standard_gamma(_PSEUDO / len(rows), (_DRAWS, len(rows))) @ rows
        for rows in (statistic.lowers, statistic.raises)
    )
    observed: list[Doubles] = []
    drawn: list[Doubles] = []
    for repeats in found:
        statistics = [b.parts[0].statistic for b in repeats]
        observed.append(np.array([_loss(criterion, s.observed) for s in statistics]))
        sums = (counts @ s.kinds[s.code] + pseudo for s in statistics)
        values = [s.value(each) for s, each in zip(statistics, sums, strict=True)]
        drawn.append(np.stack([_losses_of(criterion, each) for each in values]))
    return _Losses(tuple(observed), tuple(drawn)), float(drawn[-1].std())


def _noise(observed: Sequence[Doubles], grown: Grown) -> Doubles:
    """(points,), s at each size: what the choice of training rows does to one fit."""
    scaled = [
        point.var(ddof=1) * rows / (1 - share)
        for point, rows, share in zip(observed, grown.rows, grown.share, strict=True)
        if len(point) > 1 and share < 1
    ]
    return np.sqrt((np.mean(scaled) if scaled else 0.0) / grown.rows)


def _with_noise(losses: _Losses, grown: Grown, noise: Doubles, rng: np.random.Generator) -> Doubles:
    """(draws, points): repetitions resampled, and what they have in common drawn anew."""
    columns: list[Doubles] = []
    for point, share, each in zip(losses.drawn, grown.share, noise, strict=True):
        chosen = rng.integers(len(point), size=(_DRAWS, len(point)))
        mean = point[chosen, np.arange(_DRAWS)[:, None]].mean(1)
        columns.append(mean + rng.normal(0.0, each * sqrt(share), _DRAWS))
    return np.maximum(np.column_stack(columns), 0.0)


def _target(criterion: Criterion, behind: RowsBehind, held: Held) -> float:
    """The value that so many test rows can be expected to prove; the threshold itself where even a
    faultless model would prove nothing on them."""
    statistic, threshold = behind.parts[0].statistic, criterion.threshold
    scale = held.test_size / max(len(held.validation), 1)
    binomial = statistic.proportion is not None and behind.groups is None
    if binomial and not criterion.relative_to and 0 < threshold < 1:
        flip = (lambda v: v) if criterion.wants_more else (lambda v: 1 - v)
        rows = max(1, round(statistic.n * scale))
        found = truth_needed(rows, flip(threshold), confidence=criterion.confidence)
        return threshold if found is None else flip(found)
    ends = interval(statistic, two_sided(criterion.confidence, 1), held.seed, behind.groups)
    half = (ends[1] - ends[0]) / 2 / sqrt(scale)
    wanted = threshold + half if criterion.wants_more else threshold - half
    return wanted if _loss(criterion, wanted) > 0 else threshold


def _loss(criterion: Criterion, value: float) -> float:
    return 1 - value if criterion.wants_more else value


def _losses_of(criterion: Criterion, values: Doubles) -> Doubles:
    return 1 - values if criterion.wants_more else values


def _ratio(loss: float, of: float) -> float:
    return float(np.clip(loss / of, 0.25, 4.0)) if loss > 0 and of > 0 else 1.0


def _band(criterion: Criterion, rows: Doubles, losses: Doubles) -> Band:
    values = _losses_of(criterion, losses)
    low, middle, high = np.quantile(values, [_UNLIKELY, 0.5, 1 - _UNLIKELY], axis=0)
    return Band(*(tuple(map(float, column)) for column in (rows, middle, low, high)))

"""Metrics of one number a row: errors, correlations, and what the intervals hold.

A row that is answered with no number counts as answered with the mean of the rows' numbers, so that
leaving hard rows out helps nobody. Errors and correlations are those of scikit-learn and SciPy;
`coverage` and `interval_width` judge the stated intervals.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sartor.core.errors import Fault
from sartor.core.numerals import number_of
from sartor.core.types import TargetKind
from sartor.judge.api import CHECKS, CannotMeasure, Part, Subject
from sartor.judge.faults import parameter_fault, scale_fault
from sartor.judge.moments import (
    mean_absolute,
    pearson,
    r_squared,
    root_mean_square,
    spearman,
)
from sartor.judge.statistic import Floats, Statistic, mean, proportion
from sartor.need.criterion import Criterion

_DRAWN = 400
"""Rows that a page can show."""
_DRAWN_AS = ("truth", "said", "low", "high")
_UNITS = ("mae", "rmse", "interval_width")
_SIGNED = ("pearson", "spearman", "r2")
_INTERVALS = ("coverage", "interval_width")

METRICS: Mapping[str, str] = {
    "mae": "mean distance of the answer from the truth, in the numbers' unit",
    "rmse": "root of the mean squared distance, in the numbers' unit: far errors weigh more",
    "r2": "share of the truth's variance that the answers explain; below 0 worse than its mean",
    "pearson": "correlation of answers and truth",
    "spearman": "correlation of their ranks: whether what is higher is said to be",
    "coverage": "share of rows whose truth lies inside the stated interval",
    "interval_width": "mean width of the stated intervals, in the numbers' unit",
}


@CHECKS.add
@dataclass(frozen=True, slots=True)
class Numbers:
    """Measures how far numbers are from the truth."""

    metrics: Mapping[str, str] = field(default_factory=lambda: METRICS)
    target: TargetKind | None = "number"

    def fault(self, criterion: Criterion, outputs: Sequence[str]) -> Fault | None:
        found = scale_fault(criterion, units=_UNITS, signed=_SIGNED, alone=_INTERVALS)
        return found or parameter_fault(criterion, ())

    def parts(self, criterion: Criterion, subject: Subject) -> tuple[Part, ...]:
        truth = _truth(subject)
        if criterion.metric in _INTERVALS:
            statistic = _of_intervals(criterion.metric, subject, truth)
        else:
            statistic = _of_values(criterion.metric, truth, values(subject, truth))
        part = Part.asked(
            criterion,
            statistic,
            lambda: _of_values(criterion.metric, truth, _baseline(subject, truth)),
        )
        return (part,)


def values(subject: Subject, truth: Floats) -> Floats:
    """(rows,) what was answered; the truth's mean where nothing was."""
    said = [_number(answer, "value") for answer in subject.answers]
    blank = float(truth.mean()) if len(truth) else 0.0
    return np.array([blank if number is None else number for number in said], np.float64)


def numbered(subject: Subject) -> list[dict[str, float]]:
    """Rows that were answered, with truth, answer and interval, as JSON; at most some hundreds."""
    answered: list[dict[str, float]] = []
    for truth, answer in zip(subject.examples.target, subject.answers, strict=True):
        ends = [_number(answer, key) for key in ("value", "low", "high")]
        there = [end for end in ends if end is not None]
        if len(there) == len(ends):
            answered.append(dict(zip(_DRAWN_AS, (float(truth), *there), strict=True)))
    # Evenly over the rows, whose order says nothing.
    return answered[:: max(1, -(-len(answered) // _DRAWN))]


def _number(answer: Mapping[str, object], key: str) -> float | None:
    found = answer.get(key)
    return float(found) if isinstance(found, int | float) else None


def _of_values(metric: str, truth: Floats, said: Floats) -> Statistic:
    spread = float(truth.std()) if len(truth) else 0.0
    if metric == "mae":
        return mean_absolute(said - truth, spread)
    if metric == "rmse":
        return root_mean_square(said - truth, spread)
    return {"pearson": pearson, "spearman": spearman, "r2": r_squared}[metric](truth, said)


def _of_intervals(metric: str, subject: Subject, truth: Floats) -> Statistic:
    ends = np.empty((len(subject.answers), 2))
    for row, answer in enumerate(subject.answers):
        low, high = _number(answer, "low"), _number(answer, "high")
        if answer.get("value") is not None and (low is None or high is None):
            raise CannotMeasure(
                f"{metric} needs intervals, and answer {row + 1:,} has none.",
                fix='add "low" and "high" to every answer, or leave this criterion out.',
            )
        # No answer is no interval: it holds nothing, and is as wide as the answered ones.
        ends[row] = np.nan if low is None else low, np.nan if high is None else high
    if metric == "coverage":
        return proportion((ends[:, 0] <= truth) & (truth <= ends[:, 1]))
    widths = ends[:, 1] - ends[:, 0]
    there = widths[np.isfinite(widths)]
    widths = np.where(np.isfinite(widths), widths, there.mean() if len(there) else 0.0)
    return mean(widths, float(widths.min(initial=np.inf)), float(widths.max(initial=0.0)))


def _truth(subject: Subject) -> Floats:
    """(rows,) the targets.

    Raises:
        CannotMeasure: If answers and rows do not match.
    """
    return np.array(subject.truth("number"), np.float64)


def _baseline(subject: Subject, truth: Floats) -> Floats:
    today = subject.today()
    found = [number_of(cell) if cell else None for cell in today]
    for row, (cell, number) in enumerate(zip(today, found, strict=True)):
        if cell and number is None:
            raise CannotMeasure(
                f"The baseline's answer {row + 1:,} is {cell[:40]!r}, which is no number.",
                fix="write numbers alone, and leave the cell empty where there is no answer.",
            )
    blank = float(truth.mean()) if len(truth) else 0.0
    return np.array([blank if n is None else n for n in found], np.float64)

"""Metrics of one level a row, whose order is that of the outputs; levels are counted from 0.

`best` is judged: what the model says, or would have said. An answer that is no level counts as one
at the far end from the truth. Label metrics (accuracy, recall …) hold for levels as well.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sartor.core.errors import Fault
from sartor.core.types import TargetKind
from sartor.judge.api import CHECKS, Part, Subject
from sartor.judge.faults import parameter_fault, scale_fault
from sartor.judge.moments import kappa, mean_absolute, spearman
from sartor.judge.outcomes import Outcomes, outcomes
from sartor.judge.statistic import Floats, Statistic, proportion
from sartor.need.criterion import Criterion

METRICS: Mapping[str, str] = {
    "quadratic_weighted_kappa": "agreement beyond chance, where two levels off weighs four times",
    "mae": "mean number of levels that an answer is off",
    "within_one": "share of rows answered at most one level off",
    "spearman": "correlation of the ranks of answers and truth",
}


@CHECKS.add
@dataclass(frozen=True, slots=True)
class Ordinal:
    """Measures how far levels are from the truth."""

    metrics: Mapping[str, str] = field(default_factory=lambda: METRICS)
    target: TargetKind | None = "level"

    def fault(self, criterion: Criterion, outputs: Sequence[str]) -> Fault | None:
        signed = ("quadratic_weighted_kappa", "spearman")
        found = scale_fault(criterion, units=("mae",), signed=signed)
        return found or parameter_fault(criterion, ())

    def parts(self, criterion: Criterion, subject: Subject) -> tuple[Part, ...]:
        part = Part.asked(
            criterion,
            _statistic(criterion.metric, outcomes(subject)),
            lambda: _statistic(criterion.metric, outcomes(subject, baseline=True)),
        )
        return (part,)


def _statistic(metric: str, found: Outcomes) -> Statistic:
    truth, said = _levels(found)
    if metric == "quadratic_weighted_kappa":
        return kappa(truth, said)
    if metric == "spearman":
        return spearman(truth, said)
    if metric == "within_one":
        return proportion(np.abs(truth - said) <= 1)
    return mean_absolute(truth - said, 1.0)


def _levels(found: Outcomes) -> tuple[Floats, Floats]:
    """(rows,) true levels and said ones."""
    last = len(found.classes) - 1
    truth = found.truth.astype(np.float64)
    far = np.where(truth > last / 2, 0.0, float(last))
    return truth, np.where(found.best >= 0, found.best, far).astype(np.float64)

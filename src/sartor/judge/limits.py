"""Requirements on the bundle itself, its size, its speed, its cost: what can be wrong with one, and
what fresh processes tell of it."""

from collections.abc import Collection

import numpy as np

from sartor.core.errors import Fault
from sartor.core.near import near_miss
from sartor.judge.api import CannotMeasure, Measurement
from sartor.judge.intervals import spread
from sartor.judge.statistic import Floats
from sartor.need.criterion import Criterion


def limit_fault(criterion: Criterion, takes: Collection[str] = ()) -> Fault | None:
    """What is wrong with a positive quantity of the artefact.

    Args:
        criterion: On that quantity.
        takes: Parameters that it has.
    """
    metric, text = criterion.metric, criterion.text
    if criterion.relative_to:
        return Fault(
            criterion.line,
            f"{text!r}: the baseline is a column of answers, and has no {metric}.",
            f"write a number, e.g. {metric} <= 20.",
        )
    if unknown := [name for name, _ in criterion.parameters if name not in takes]:
        what = f"{text!r}: {metric} takes no parameter {unknown[0]!r}."
        return Fault(criterion.line, what, near_miss(unknown[0], takes))
    if criterion.where is not None:
        return Fault(
            criterion.line,
            f"{text!r}: {metric} belongs to the bundle, not to some of the rows.",
            "remove the where: part.",
        )
    if criterion.threshold <= 0:
        return Fault(
            criterion.line,
            f"{text!r}: {metric} is above 0 for every bundle.",
            "write a threshold above 0.",
        )
    return None


def needs_bundle(criterion: Criterion, purpose: str = "") -> CannotMeasure:
    """That answers which are only recorded have no such metric.

    Args:
        criterion: Asks for it.
        purpose: What a bundle is needed for, as "to time".
    """
    bundle = f"a bundle {purpose}".rstrip()
    return CannotMeasure(
        f"{criterion.metric} needs {bundle}, and these are recorded answers.",
        fix="judge a bundle, or leave this criterion out.",
    )


def over_processes(figures: Floats, note: str) -> Measurement:
    """Their median and their range.

    Args:
        figures: One a process.
        note: What they hold for.
    """
    low, high = spread(figures)
    return Measurement(float(np.median(figures)), low, high, len(figures), note)

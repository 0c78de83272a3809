"""What can be wrong with a requirement on the bundle itself: its size, its speed, its cost."""

from collections.abc import Collection

from sartor.core.errors import Fault
from sartor.core.near import near_miss
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

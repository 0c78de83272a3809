"""Faults of a column of numbers, and one number of several that raters gave the same text."""

from collections.abc import Sequence
from typing import Any, TypeGuard

from sartor.data.labels import LabelFault


def are_numbers(values: Sequence[Any]) -> TypeGuard[Sequence[float]]:
    """Whether answers are numbers, and so have no names to be counted by."""
    return bool(values) and all(isinstance(value, float) for value in values)


def number_faults(
    numbers: Sequence[float], first: tuple[str, int], declared: Sequence[str] | None
) -> list[LabelFault]:
    """All faults of the column as a whole; cells that are no number have been told before.

    Args:
        numbers: At least one.
        first: File and row of the first.
        declared: The need's labels, or None.
    """
    faults: list[LabelFault] = []
    if declared:
        what = f"data.labels lists {len(declared)} labels, and the task predicts a number"
        fix = "leave data.labels out, or use task ordinal for a few levels in an order"
        faults.append(LabelFault("", (first,), what, fix))
    if len(set(numbers)) < 2:
        what = f"every row has the number {numbers[0]:g}: there is nothing to tell apart"
        faults.append(
            LabelFault("", (first,), what, "check data.label, or add rows with another number")
        )
    return faults

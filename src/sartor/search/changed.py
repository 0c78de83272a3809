"""Answers to the validation rows before and after a change, held against each other."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from sartor.search.assess import Held
from sartor.shrink.parity import Parity, of_numbers, overlap_parity, parity
from sartor.tasks import Written, agrees


def compared(
    held: Held,
    before: Sequence[Mapping[str, Any]],
    after: Sequence[Mapping[str, Any]],
    tolerance: float,
) -> Parity:
    """Their parity: of labels by accuracy, of numbers by the error, of replies by their overlap.

    Args:
        held: Gives the task and the validation rows.
        before: Answers of the fitted model, one a row.
        after: Those of what was made of it.
        tolerance: Least value of `Parity.tolerance`.
    """
    task, target = held.task, held.validation.target
    if task.roles.target_kind == "number":
        return of_numbers(before, after, target, tolerance)
    truth = [task.target.text(each) for each in target]
    if isinstance(task.target, Written):
        return overlap_parity(before, after, truth, tolerance, lambda a: task.brief(a).best)
    right = partial(agrees, task.target)
    return parity(before, after, truth, tolerance, lambda a: task.brief(a).best, right)

"""Rows by what they can be counted under, whatever the form of a task's answers.

An answer is one label (a `str`), a set of labels (a `tuple` of them), labelled parts of a text (a
`tuple` of `Span`), right parts of a context (a `tuple` of `Passage`), which is counted by whether
there are any, or a number, which is counted under the part of their range it lies in.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from sartor.core.spans import Passage, Span

ANSWERED, UNANSWERED = "answer", "no answer"
"""What questions are counted under."""
_PARTS = 10
"""Most parts that the range of numbers is cut into, of equally many rows."""
_IN_PART = 20
"""Rows of a part that make it worth one."""


def names_of(answer: Any) -> tuple[str, ...]:
    """The labels of one answer, each once; none where it has no labels."""
    if isinstance(answer, str):
        return (answer,)
    if not isinstance(answer, tuple):
        return ()
    parts = cast("tuple[str | Span | Passage, ...]", answer)
    labels = [part.label if isinstance(part, Span) else part for part in parts]
    return tuple(dict.fromkeys(label for label in labels if isinstance(label, str)))


def counted_under(answers: Sequence[Any]) -> list[tuple[str, ...]]:
    """For each answer the names it is counted under: its labels, or the part of the numbers' range.

    Args:
        answers: All of a table: where the parts end depends on them.
    """
    if any(map(_is_passages, answers)):
        return [(ANSWERED if answer else UNANSWERED,) for answer in answers]
    if not answers or not all(isinstance(answer, float) for answer in answers):
        return [names_of(answer) for answer in answers]
    numbers = np.array(answers, np.float64)
    parts = int(np.clip(len(numbers) // _IN_PART, 2, _PARTS))
    distinct = np.unique(numbers)
    cuts = np.unique(np.quantile(numbers, np.arange(1, parts) / parts, method="lower"))
    cuts = cuts[cuts < distinct[-1]]
    if len(distinct) <= parts or not len(cuts):
        # A few values, or one that most rows have: what lies below the largest is no part of it.
        cuts = distinct[:-1] if len(distinct) <= parts else distinct[-2:-1]
    place = np.searchsorted(cuts, numbers, side="left")
    names: dict[int, tuple[str, ...]] = {}
    for part in np.unique(place).tolist():
        inside = numbers[place == part]
        names[part] = (f"{inside.min():.4g} – {inside.max():.4g}",)
    return [names[part] for part in place.tolist()]


def _is_passages(answer: Any) -> bool:
    if not isinstance(answer, tuple):
        return False
    return any(isinstance(one, Passage) for one in cast("tuple[Any, ...]", answer))


def strata(answers: Sequence[Any]) -> list[str]:
    """One name a row, to draw parts by in which every label keeps its share.

    Of several labels it is the one that the fewest rows have: a part that keeps the shares of the
    rare ones keeps those of the others too. Empty where an answer has no label.
    """
    names = counted_under(answers)
    counts = Counter(name for each in names for name in each)
    return [min(each, key=lambda name: (counts[name], name), default="") for each in names]

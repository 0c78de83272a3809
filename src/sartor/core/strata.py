"""Rows by what they can be counted under, whatever the form of a task's answers.

An answer is one label (a `str`), a set of labels (a `tuple` of them), labelled parts of a text (a
`tuple` of `Span`), or something else, such as a number, that no rows share.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

from sartor.core.spans import Span


def names_of(answer: Any) -> tuple[str, ...]:
    """The labels of one answer, each once; none where it has no labels."""
    if isinstance(answer, str):
        return (answer,)
    if not isinstance(answer, tuple):
        return ()
    parts = cast("tuple[str | Span, ...]", answer)
    return tuple(dict.fromkeys(part.label if isinstance(part, Span) else part for part in parts))


def strata(answers: Sequence[Any]) -> list[str]:
    """One name a row, to draw parts by in which every label keeps its share.

    Of several labels it is the one that the fewest rows have: a part that keeps the shares of the
    rare ones keeps those of the others too. Empty where an answer has no label.
    """
    counts = Counter(name for answer in answers for name in names_of(answer))
    return [
        min(names_of(answer), key=lambda name: (counts[name], name), default="")
        for answer in answers
    ]

"""Which columns hold a question, its context and its answers, for `sartor init`."""

from collections.abc import Callable, Sequence

import polars as pl

from sartor.data.named import is_named, rank_of
from sartor.data.profile import Guess, mean_length
from sartor.data.table import OURS, texts_of

_LOOKED_AT = 1_000
"""Rows that a guess is made from."""
_MOSTLY = 0.5


def guess_questions(frame: pl.DataFrame) -> Guess:
    """Question and answers as text and label, by their names, else by what stands in them.

    Args:
        frame: As read.
    """
    left = [name for name in frame.columns if name not in OURS]
    question = _named(left, "question") or _first(frame, left, _asks)
    left = [name for name in left if name != question]
    context = context_of(frame, [question or ""])
    left = [name for name in left if name != context]
    contexts = texts_of(frame[context].head(_LOOKED_AT)) if context else []

    def inside(cells: Sequence[str | None]) -> bool:
        pairs = [(a, b) for a, b in zip(cells, contexts, strict=True) if a and b]
        return bool(pairs) and sum(a in b for a, b in pairs) > _MOSTLY * len(pairs)

    answers = _named(left, "answers") or _first(frame, left, inside)
    reasons = tuple(
        f"{part} = {name}: its name or its cells say so."
        for part, name in (("question", question), ("context", context), ("label", answers))
        if name
    )
    return Guess(question, answers, None, None, reasons)


def context_of(frame: pl.DataFrame, taken: Sequence[str]) -> str | None:
    """The column of contexts: by its name, else the longest texts that are left.

    Args:
        frame: As read.
        taken: Columns that play another part.
    """
    left = [name for name in frame.columns if name not in (*OURS, *taken)]
    longest = max(left, key=lambda name: mean_length(frame[name]), default=None)
    return _named(left, "context") or longest


def _named(names: Sequence[str], part: str) -> str | None:
    found = [name for name in names if is_named(name, part)]
    return min(found, key=lambda name: rank_of(name, part), default=None)


def _first(
    frame: pl.DataFrame, names: Sequence[str], holds: Callable[[Sequence[str | None]], bool]
) -> str | None:
    for name in names:
        if holds(texts_of(frame[name].head(_LOOKED_AT))):
            return name
    return None


def _asks(cells: Sequence[str | None]) -> bool:
    """Whether most cells end as questions do."""
    there = [cell.strip() for cell in cells if cell and cell.strip()]
    return bool(there) and sum(cell[-1] in "?？" for cell in there) > _MOSTLY * len(there)

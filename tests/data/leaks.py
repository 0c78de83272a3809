"""Leaks: training rows that give a test row away. What a split must leave none of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sartor.core.texts import shown
from sartor.core.types import Examples
from sartor.data.changes import excerpt
from sartor.data.near import row_clusters


@dataclass(frozen=True, slots=True)
class Leak:
    """One training row beside one test row.

    Args:
        kind: "exact" (equal inputs), "near" (a nearly equal text) or "group" (same group).
        train: Index in the training examples.
        test: Index in the test examples.
        detail: The text or the group that both share.
    """

    kind: Literal["exact", "near", "group"]
    train: int
    test: int
    detail: str


def leaks(train: Examples, test: Examples, *, group: str = "") -> list[Leak]:
    """All training rows that repeat, nearly repeat, or share the group of a test row.

    Args:
        train: With one text a row, or several.
        test: Likewise.
        group: Name of the group column under `extra`; empty for none.
    """
    found = _exact(train, test)
    named = {leak.train for leak in found}
    columns = [(*test.inputs[role], *train.inputs[role]) for role in test.inputs]
    # A cluster is named by its first row: below the number of test rows, it holds one of them.
    for row, first in enumerate(row_clusters(columns)[len(test) :].tolist()):
        if first < len(test) and row not in named:
            found.append(Leak("near", row, first, excerpt(shown(train.texts[row]))))
    return found + (_groups(train.extra[group], test.extra[group]) if group else [])


def _exact(train: Examples, test: Examples) -> list[Leak]:
    held = {name: i for i, name in enumerate(test.ids)}
    return [
        Leak("exact", i, held[name], excerpt(shown(train.texts[i])))
        for i, name in enumerate(train.ids)
        if name in held
    ]


def _groups(train: Sequence[object], test: Sequence[object]) -> list[Leak]:
    held = {name: i for i, name in reversed(list(enumerate(test))) if name not in (None, "")}
    return [Leak("group", i, held[name], str(name)) for i, name in enumerate(train) if name in held]

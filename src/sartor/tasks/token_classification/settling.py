"""Fitting the decision rule on validation rows: calibration, then how readily a piece is outside.

Entities are few and O is nearly everywhere, so a model that is unsure says O. A number added to
O's logit trades what is missed against what is wrongly named: below 0 finds more.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sartor.core.likelihood import NO_PIECE, Truth, fit_temperature
from sartor.core.protocols import Floats
from sartor.need.criterion import Criterion
from sartor.tasks._decision.margins import margin, movable, share_error
from sartor.tasks.token_classification.tagging import best_tags, entities, log_shares

_GRID = (0.0, *(sign * 0.25 * step for step in range(1, 13) for sign in (-1.0, 1.0)))
"""What may be added, the mildest first: of equally good ones it is kept."""
_MOST = 2_000
"""Rows beyond which more would not change the choice."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How logits become tags."""

    temperature: float
    outside: float


@dataclass(frozen=True, slots=True)
class Counts:
    """Entities of each label: hits, in the truth, in the answers."""

    hits: Mapping[int, int]
    true: Mapping[int, int]
    said: Mapping[int, int]

    def sums(self, labels: Sequence[int]) -> tuple[int, int, int]:
        """Over some labels."""
        return tuple(
            sum(each.get(label, 0) for label in labels)
            for each in (self.hits, self.true, self.said)
        )  # pyright: ignore[reportReturnType]


Ratio = Callable[[int, int, int], tuple[float, int]]
_RATIOS: Mapping[str, Ratio] = {
    "precision": lambda hits, true, said: (hits / max(said, 1), said),
    "recall": lambda hits, true, said: (hits / max(true, 1), true),
    "f1": lambda hits, true, said: (2 * hits / max(true + said, 1), max(true, said)),
}
_MOVED = frozenset({*_RATIOS, *(f"{name}_micro" for name in _RATIOS)})


def settled(
    logits: Floats,
    truth: Truth,
    labels: Sequence[str],
    criteria: Sequence[Criterion],
    count: float = 1.0,
) -> Rule:
    """The rule that satisfies the criteria with margin, at the best F1.

    Args:
        logits: (rows, pieces, outputs).
        truth: (rows, pieces).
        labels: In the order of the outputs.
        criteria: Those about slices or a baseline move nothing.
        count: What a row counts as; see `counted`.
    """
    temperature = fit_temperature(logits, truth)
    if not len(truth):
        return Rule(temperature, 0.0)
    some = slice(0, _MOST)
    wanted = [
        (criterion, chosen)
        for criterion in movable(criteria, _MOVED)
        if (chosen := _labels(criterion, labels)) is not None
    ]
    gold = [set(entities(_known(row))) for row in truth[some]]
    best, found = (-np.inf, -np.inf), 0.0
    for outside in _GRID:
        counts = _counted(best_tags(log_shares(logits[some], temperature, outside)), truth, gold)
        total = sum(_margin(criterion, chosen, counts, count) for criterion, chosen in wanted)
        f1, _ = _RATIOS["f1"](*counts.sums(range(len(labels))))
        worth = round(total, 9), round(f1, 9)
        if worth > best:
            best, found = worth, outside
    return Rule(temperature, found)


def _labels(criterion: Criterion, labels: Sequence[str]) -> list[int] | None:
    """Which labels a criterion counts together; None where the rule cannot move it."""
    if criterion.metric not in _RATIOS:
        return list(range(len(labels)))
    label = criterion.label(labels)
    return [labels.index(label)] if label in labels else None


def _margin(criterion: Criterion, labels: Sequence[int], counts: Counts, count: float) -> float:
    """Of the criterion, where the labels are counted together."""
    ratio = _RATIOS[criterion.metric.partition("_")[0]]
    value, n = ratio(*counts.sums(labels))
    return float(margin(criterion, value, share_error(value, n * count)))


def _counted(
    tags: np.ndarray[tuple[int, int], np.dtype[np.intp]],
    truth: Truth,
    gold: Sequence[set[tuple[int, int, int]]],
) -> Counts:
    hits, true, said = dict[int, int](), dict[int, int](), dict[int, int]()
    for row, wanted in enumerate(gold):
        named = set(entities(tags[row][truth[row] != NO_PIECE].tolist()))
        for counts, parts in ((hits, named & wanted), (true, wanted), (said, named)):
            for *_, label in parts:
                counts[label] = counts.get(label, 0) + 1
    return Counts(hits, true, said)


def _known(row: Truth) -> list[int]:
    return [int(tag) for tag in row if tag != NO_PIECE]

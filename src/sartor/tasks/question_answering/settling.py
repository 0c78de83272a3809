"""Fitting the decision rule on validation rows: calibration, then how readily no answer is given.

Giving no answer more readily wins questions that the text does not answer and loses others. Of all
offsets that change an answer, the one is taken that satisfies the criteria with the most margin,
and of those the one with the best F1.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sartor.core.likelihood import Truth, fit_temperature
from sartor.core.pieces import pieces
from sartor.core.protocols import Floats
from sartor.core.spans import Passage
from sartor.need.criterion import Criterion
from sartor.tasks._decision.margins import margin, movable
from sartor.tasks.question_answering.choosing import LONGEST, Doubles, Rule, choose
from sartor.tasks.question_answering.likeness import exact_match, f1

_MOST = 2_000
"""Rows beyond which more would not change the choice."""
_OFFSETS = 60
"""Offsets tried, at most, beside none."""
_ROOM = 1.5
"""Times the longest right answer that an answer may be."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """What every row would be worth.

    Args:
        gap: (rows,) score of the best part less that of no answer.
        exact: (rows,) whether the best part is right.
        f1: (rows,) its F1.
        empty: (rows,) whether there is no answer.
    """

    gap: Doubles
    exact: NDArray[np.bool_]
    f1: Doubles
    empty: NDArray[np.bool_]


_VALUES: Mapping[str, Callable[[_Rows, NDArray[np.bool_]], Doubles]] = {
    "exact_match": lambda rows, said: np.where(said, rows.exact, rows.empty).astype(float),
    "f1": lambda rows, said: np.where(said, rows.f1, rows.empty),
    "no_answer_accuracy": lambda rows, said: (~said)[rows.empty].astype(float),
    "answered_exact_match": lambda rows, said: (rows.exact & said)[~rows.empty].astype(float),
    "answered_f1": lambda rows, said: np.where(said, rows.f1, 0.0)[~rows.empty],
}


def settled(
    logits: Floats,
    rows: Sequence[tuple[str, Sequence[Passage]]],
    truth: Truth,
    criteria: Sequence[Criterion],
    count: float = 1.0,
) -> Rule:
    """The rule that satisfies the criteria with margin, at the best F1.

    Args:
        logits: (rows, places, 2).
        rows: The context and the right answers of each.
        truth: Of them, see `core.likelihood`.
        criteria: Those about slices or a baseline move nothing.
        count: What a row counts as; see `counted`.
    """
    lengths = [len(pieces(right.text)) for _, answers in rows for right in answers]
    longest = max(LONGEST, int(_ROOM * max(lengths, default=0)))
    rule = Rule(fit_temperature(logits, truth), 0.0, longest)
    if not len(rows):
        return rule
    worth = _worth(logits[:_MOST], rows[:_MOST], rule)
    wanted = movable(criteria, _VALUES)
    best, found = (-np.inf, -np.inf), 0.0
    for none in _offsets(worth.gap):
        said = worth.gap > none
        total = sum(_margin(each, _VALUES[each.metric](worth, said), count) for each in wanted)
        value = round(total, 9), round(float(_VALUES["f1"](worth, said).mean()), 9)
        if value > best:
            best, found = value, none
    return Rule(rule.temperature, found, longest)


def _worth(logits: Floats, rows: Sequence[tuple[str, Sequence[Passage]]], rule: Rule) -> _Rows:
    gap, exact, likeness = np.zeros(len(rows)), np.zeros(len(rows), bool), np.zeros(len(rows))
    for row, (context, answers) in enumerate(rows):
        choice, places = choose(logits[row], rule, 1), pieces(context)
        gap[row] = choice.parts[0].score - choice.none_score if choice.parts else -np.inf
        right = [answer.text for answer in answers]
        if choice.parts and right:
            best = choice.parts[0]
            said = context[places[best.first][0] : places[best.last][1]]
            exact[row], likeness[row] = exact_match(said, right), f1(said, right)
    return _Rows(gap, exact, likeness, np.array([not answers for _, answers in rows], bool))


def _offsets(gap: Doubles) -> list[float]:
    """0, and points between the rows' gaps, the mildest first."""
    known = np.unique(gap[np.isfinite(gap)])
    if not len(known):
        return [0.0]
    between = np.concatenate([[known[0] - 1.0], (known[1:] + known[:-1]) / 2, [known[-1] + 1.0]])
    places = np.unique(np.linspace(0, len(between) - 1, min(_OFFSETS, len(between))).round())
    return [0.0, *sorted(between[places.astype(int)].tolist(), key=abs)]


def _margin(criterion: Criterion, values: Doubles, count: float) -> float:
    """Of a criterion on the mean of values; nothing where there are no such rows."""
    if not len(values):
        return 0.0
    rows = len(values) * count
    error = max(float(values.std()) / rows**0.5, 0.5 / rows)
    return float(margin(criterion, float(values.mean()), error))

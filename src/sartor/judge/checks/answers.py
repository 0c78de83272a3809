"""Metrics of answers that stand in a context, as SQuAD 2.0 and CMRC 2018 count them.

Of several right answers the most like counts; where none is right, none must be given, which is
worth 1 and anything else 0. See `tasks.question_answering.likeness` for what is alike.

Rows are the unit; where several questions are about one context, the contexts are.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sartor.core.errors import Fault
from sartor.core.spans import Passage
from sartor.core.types import TargetKind
from sartor.judge.api import CHECKS, CannotMeasure, Part, Subject
from sartor.judge.faults import parameter_fault, threshold_fault
from sartor.judge.statistic import Floats, Statistic, divide, mean, proportion
from sartor.need.criterion import Criterion
from sartor.tasks import Unreadable
from sartor.tasks._target.passages import told_in
from sartor.tasks.question_answering.likeness import exact_match, f1

METRICS: Mapping[str, str] = {
    "exact_match": "share of rows answered with a right answer, or rightly with none",
    "f1": "mean F1 of the words that an answer shares with the most like right one",
    "no_answer_accuracy": "of the rows without an answer, the share that get none",
    "answered_exact_match": "exact_match of the rows with an answer",
    "answered_f1": "f1 of the rows with an answer",
}


@CHECKS.add
@dataclass(frozen=True, slots=True)
class Answers:
    """Compares answers with the right ones."""

    metrics: Mapping[str, str] = field(default_factory=lambda: METRICS)
    target: TargetKind | None = "answer"

    def fault(self, criterion: Criterion, outputs: Sequence[str]) -> Fault | None:
        return threshold_fault(criterion, ()) or parameter_fault(criterion, ())

    def parts(self, criterion: Criterion, subject: Subject) -> tuple[Part, ...]:
        right = [_texts(target) for target in subject.truth("list of right answers")]
        said = [str(answer.get("answer") or "") for answer in subject.answers]
        measured = _METRICS[criterion.metric]
        return (
            Part.asked(
                criterion, measured(said, right), lambda: measured(_baseline(subject), right)
            ),
        )


def _texts(target: Sequence[Passage]) -> list[str]:
    return [passage.text for passage in target]


Said = Sequence[str]
Right = Sequence[Sequence[str]]


def _exact(said: Said, right: Right) -> Statistic:
    return proportion(np.array([exact_match(*pair) for pair in _pairs(said, right)], bool))


def _f1(said: Said, right: Right) -> Statistic:
    return mean(np.array([f1(*pair) for pair in _pairs(said, right)], np.float64), 0.0, 1.0)


def _none(said: Said, right: Right) -> Statistic:
    silent, empty = (np.array([not each for each in side], bool) for side in (said, right))
    return proportion(silent & empty, empty)


def _answered_exact(said: Said, right: Right) -> Statistic:
    found = np.array([exact_match(*pair) for pair in _pairs(said, right)], bool)
    there = np.array([bool(each) for each in right], bool)
    return proportion(found & there, there)


def _answered_f1(said: Said, right: Right) -> Statistic:
    there = np.array([bool(each) for each in right], np.float64)
    likeness = np.array([f1(*pair) for pair in _pairs(said, right)], np.float64) * there
    return Statistic(
        kinds=np.column_stack([likeness, there]),
        code=np.arange(len(there)),
        value=_ratio,
        lowers=np.array([[0.0, 1.0]]),
        raises=np.array([[1.0, 1.0]]),
        trials=np.array([0.0, 1.0]),
    )


_METRICS: Mapping[str, Callable[[Said, Right], Statistic]] = {
    "exact_match": _exact,
    "f1": _f1,
    "no_answer_accuracy": _none,
    "answered_exact_match": _answered_exact,
    "answered_f1": _answered_f1,
}


def _ratio(sums: Floats) -> Floats:
    return divide(sums[..., 0], sums[..., 1])


def _pairs(said: Said, right: Right) -> list[Any]:
    return list(zip(said, right, strict=True))


def _baseline(subject: Subject) -> list[str]:
    """Today's answers by their words; several in a cell are one too many, so the first is read."""
    try:
        told = [told_in(cell) if cell else [] for cell in subject.today()]
    except Unreadable as error:
        raise CannotMeasure(f"The baseline: {error.what}.", fix=f"{error.fix}.") from None
    return [each[0][0] if each else "" for each in told]

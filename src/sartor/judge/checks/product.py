"""Metrics of a product's outcomes: an answer, or a person.

    answered     the outcome is not "hand_off"
    right        it is answered with an outcome that the row names
    end_to_end   right, or left to a person where the row says so

`part_accuracy[part=…]` looks at one part alone: over the rows that reach it and whose column of
the part's own name says what is right there (a label; of documents one of those listed with ;).
Replies are compared over the rows that the part wrote one for, and whose column of its name holds
the right one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from sartor.core.errors import Fault
from sartor.core.types import HAND_OFF, TargetKind
from sartor.judge.api import CHECKS, CannotMeasure, Part, Subject
from sartor.judge.automation import automation
from sartor.judge.faults import threshold_fault
from sartor.judge.replies import COMPARED, compared
from sartor.judge.statistic import Statistic, proportion
from sartor.need.criterion import Bound, Criterion
from sartor.tasks import Unreadable
from sartor.tasks._target.spans import Spans
from sartor.tasks.product.target import Outcomes

METRICS: Mapping[str, str] = {
    "end_to_end": "share of rows that end right: the right answer, or a person where one should",
    "answered_right": "share of all rows that are answered, and rightly",
    "answered_precision": "of the rows that are answered, the share that is right",
    "automation_rate": "share of rows answered without a person; takes [precision >= …]",
    "hand_off_rate": "share of rows that are left to a person",
    "hand_off_recall": "of the rows that a person should answer, the share that one gets",
    "part_accuracy": "of the rows that reach a part, the share it answers rightly; [part=…]",
    **{
        name: f"of the replies that a part writes: {what}; [part=…]"
        for name, what in COMPARED.items()
    },
}
_BASELINE = frozenset({"end_to_end", "answered_right"})
_TAKES = {"automation_rate": "precision", **dict.fromkeys(("part_accuracy", *COMPARED), "part")}
Rows = NDArray[np.bool_]


@CHECKS.add
@dataclass(frozen=True, slots=True)
class Product:
    """Counts right outcomes, right hand-offs, and what the parts had to do with it."""

    metrics: Mapping[str, str] = field(default_factory=lambda: METRICS)
    target: TargetKind | None = "outcome"

    def fault(self, criterion: Criterion, outputs: Sequence[str]) -> Fault | None:
        found = threshold_fault(criterion, METRICS.keys() - _BASELINE)
        return found or _parameter_fault(criterion)

    def parts(self, criterion: Criterion, subject: Subject) -> tuple[Part, ...]:
        if criterion.metric == "part_accuracy":
            statistic = _of_part(str(criterion.parameter("part")), subject)
            return (Part.asked(criterion, statistic, name="part accuracy"),)
        if criterion.metric in COMPARED:
            statistic = _of_words(criterion.metric, str(criterion.parameter("part")), subject)
            return (Part.asked(criterion, statistic),)
        ended = _ended([str(answer["outcome"]) for answer in subject.answers], subject)
        if criterion.metric == "automation_rate":
            return automation(criterion, ended.answered, ended.right)
        part = Part.asked(
            criterion,
            _statistic(criterion.metric, ended),
            lambda: _statistic(criterion.metric, _today(subject)),
            name=criterion.metric.replace("_", " "),
        )
        return (part,)


@dataclass(frozen=True, slots=True)
class _Ended:
    """How rows ended, (rows,) each: whether answered, rightly so, and whether a person should."""

    answered: Rows
    right: Rows
    person: Rows


def _statistic(metric: str, ended: _Ended) -> Statistic:
    if metric == "end_to_end":
        return proportion(ended.right | (ended.person & ~ended.answered))
    if metric == "answered_right":
        return proportion(ended.right)
    if metric == "answered_precision":
        return proportion(ended.right, ended.answered)
    if metric == "hand_off_rate":
        return proportion(~ended.answered)
    return proportion(ended.person & ~ended.answered, ended.person)


def _ended(said: Sequence[str], subject: Subject) -> _Ended:
    truth = subject.truth("outcome")
    answered = np.array([name != HAND_OFF for name in said], bool)
    right = np.array([name in names for name, names in zip(said, truth, strict=True)], bool)
    person = np.array([not names for names in truth], bool)
    return _Ended(answered, right & answered, person)


def _today(subject: Subject) -> _Ended:
    """How rows end today; an empty cell is one that a person answers."""
    return _ended([cell.strip() or HAND_OFF for cell in subject.today("outcomes")], subject)


def _of_part(name: str, subject: Subject) -> Statistic:
    told = _told(name, subject)
    right, counted = np.zeros(len(told), bool), np.zeros(len(told), bool)
    for row, (text, answer) in enumerate(zip(told, subject.answers, strict=True)):
        best = _best(name, answer)
        if text and best is not None:
            counted[row], right[row] = True, _agrees(best, text)
    return proportion(right & counted, counted)


def _of_words(metric: str, name: str, subject: Subject) -> Statistic:
    told = _told(name, subject)
    said = [_best(name, answer) for answer in subject.answers]
    counted = np.array([bool(t) and s is not None for t, s in zip(told, said, strict=True)], bool)
    return compared(metric, [reply or "" for reply in said], told, counted)


def _told(name: str, subject: Subject) -> list[str]:
    """What the rows say that a part should answer; empty where nobody knows.

    Raises:
        CannotMeasure: If they have no such column.
    """
    told = subject.examples.extra.get(name)
    if told is None:
        raise CannotMeasure(
            f"the rows have no column {name!r} that says what the part {name!r} should answer.",
            fix=f"add a column {name!r}; leave cells empty where nobody knows.",
        )
    return ["" if cell is None else str(cell).strip() for cell in told]


def _best(name: str, answer: Mapping[str, object]) -> str | None:
    """What a part said, sure or not; None where the row did not reach it."""
    path = cast("Sequence[Mapping[str, Any]]", answer.get("path", ()))
    return next((str(step["best"]) for step in path if step["part"] == name), None)


def _agrees(best: str, cell: str) -> bool:
    """Whether a part said what a cell of its column allows: a name, one of several, or parts."""
    if best.startswith("["):  # labelled parts of the text
        form = Spans()
        try:
            return form.read(cell) == form.read(best)
        except Unreadable:
            return False
    names = Outcomes()
    try:
        return best == cell or best in names.value(names.read(cell))
    except Unreadable:
        return False


def _parameter_fault(criterion: Criterion) -> Fault | None:
    metric, given = criterion.metric, dict(criterion.parameters)
    takes = _TAKES.get(metric)
    if odd := [name for name in given if name != takes]:
        what = f"{criterion.text!r}: {metric} takes no parameter {odd[0]!r}."
        fix = f"write {metric}[{_FORMS[metric]}]." if takes else "leave it out."
        return Fault(criterion.line, what, fix)
    bound = given.get("precision")
    possible = isinstance(bound, Bound) and bound.comparison in (">=", ">") and bound.value < 1
    wrong = (takes == "precision" and "precision" in given and not possible) or (
        takes == "part" and not isinstance(given.get("part"), str)
    )
    if not wrong:
        return None
    what = f"{criterion.text!r}: {takes!r} is not written that way."
    return Fault(criterion.line, what, f"write {metric}[{_FORMS[metric]}].")


_FORMS = {
    "automation_rate": "precision >= 0.95",
    "part_accuracy": "part=intent",
    **dict.fromkeys(COMPARED, "part=writer"),
}

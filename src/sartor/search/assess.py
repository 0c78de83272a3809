"""What validation rows say of a candidate: decision rule, scores, and the chance of "met"."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sartor.core.likelihood import Truth, losses
from sartor.core.protocols import Floats
from sartor.core.ragged import under
from sartor.core.texts import CONTEXT
from sartor.core.types import Candidate, Examples, Use
from sartor.data.table import as_text
from sartor.judge.api import MeasuresArtefact, Opinion, Subject
from sartor.judge.chance import chance_of_met
from sartor.judge.gaps import values
from sartor.judge.resolve import check_of
from sartor.need.criterion import Criterion
from sartor.need.verdict import Verdict
from sartor.search.costing import Costing
from sartor.search.folds import Folds, both
from sartor.search.ladder import Assessment, Scored, Tried
from sartor.tasks import Task, Unreadable

_LEAST = 1e-12
NAMED = ("label", "level")
"""Forms of a target that are compared as names."""
_ALONE = "\0"
"""Begins the unit of a row without a group; no cell of a file holds it."""


@dataclass(frozen=True, slots=True)
class Held:
    """What every assessment of a run shares.

    Args:
        task: Settles the decision rule and decodes.
        outputs: Names of the model's outputs.
        validation: Rows that choose.
        criteria: Of the need.
        test_size: Rows of the test set to come.
        baseline: Column with today's answers, or "".
        group: Column of groups, or "".
        seed: Of the simulated test sets.
        folds: Where validation rows are few; see `folds`.
        decision: A rule that is settled already and stays, or None.
        anew: Whether a model that is trained once more gets a rule of its own all the same.
        costing: Measures and prices what a bundle takes, or None.
        opinion: Of a judge on replies, or None.
    """

    task: Task
    outputs: tuple[str, ...]
    validation: Examples
    criteria: tuple[Criterion, ...]
    test_size: int
    baseline: str = ""
    group: str = ""
    seed: int = 0
    folds: Folds | None = None
    decision: Mapping[str, Any] | None = None
    anew: bool = False
    costing: Costing | None = None
    opinion: Opinion | None = None

    @property
    def truth(self) -> Truth:
        """Of the validation rows; see `core.likelihood` for its forms."""
        return self.task.truth(self.validation, self.outputs)

    def subject(self, examples: Examples, answers: Sequence[Mapping[str, Any]]) -> Subject:
        """Answers on examples, with baseline and groups taken from their columns."""
        return Subject(
            examples=examples,
            answers=answers,
            outputs=classes(self.task, self.outputs),
            target=self.task.roles.target_kind,
            baseline=answers_today(examples, self.baseline, self.task),
            groups=units_of(examples, self.group, self.task),
            opinion=self.opinion,
        )

    def measured(
        self,
        examples: Examples,
        answers: Sequence[Mapping[str, Any]],
        folder: str,
        timing: Callable[[], NDArray[np.float64]],
        conditions: str,
    ) -> Subject:
        """`subject` of a bundle: with what its size, its latency and its cost are measured by.

        Args:
            examples: Rows.
            answers: One a row.
            folder: The bundle's.
            timing: Called once where a criterion asks for it.
            conditions: What the timing holds for.
        """
        plain = self.subject(examples, answers)
        plain = replace(plain, folder=folder, timing=timing, conditions=conditions)
        costing, texts = self.costing, list(examples.texts)
        if costing is None:
            return plain
        return replace(plain, using=lambda: costing.use(folder, texts), prices=costing.book)

    def sped(
        self, subject: Subject, change: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    ) -> Subject:
        """A bundle's subject, were its latencies changed so, and its processor time in proportion.

        Args:
            subject: From `measured`.
            change: (processes, requests) milliseconds to as many.
        """
        timing, using = subject.timing, subject.using
        assert timing is not None, "`measured` gives one"

        def changed() -> Use:
            assert using is not None, "called where there is one"
            taken, before = using(), timing()
            share = float(change(before).mean() / before.mean())
            return replace(
                taken,
                cpu_seconds=tuple(cpu * share for cpu in taken.cpu_seconds),
                busy_seconds=tuple(cpu * share for cpu in taken.busy_seconds),
            )

        return replace(
            subject,
            timing=lambda: change(timing()),
            using=None if using is None else changed,
        )

    def settle(self, logits: Floats, *, trained: bool = False) -> dict[str, Any]:
        """The decision rule fitted on the validation rows, unless there is one that stays.

        Args:
            logits: Of the validation rows.
            trained: Whether they come from a model that was trained after it was chosen, whose
                logits have a scale of their own.
        """
        held = replace(self, decision=None) if trained and self.anew else self
        return held._settled(logits, self.validation)

    def _settled(self, logits: Floats, examples: Examples) -> dict[str, Any]:
        if self.decision is not None:
            return dict(self.decision)
        return self.task.settle(logits, examples, self.outputs, self.criteria, self.test_size)

    def assess(self, _: Candidate, scored: Scored, known: Sequence[Verdict] = ()) -> Assessment:
        """Judge a candidate's logits on the rows that it did not learn from."""
        examples, logits = self._evidence(scored)
        decision = self._settled(logits, examples)
        answers = self.task.decode(logits, self.outputs, decision, examples.texts)
        subject = self.subject(examples, answers)
        chance = chance_of_met(self.criteria, subject, self.test_size, known=known, seed=self.seed)
        scores = values(self.criteria, subject)
        found = self._losses(logits, answers, examples)
        return Assessment(decision, scores, chance.overall, float(found.mean()), found)

    def _losses(
        self, logits: Floats, answers: Sequence[Mapping[str, Any]], examples: Examples
    ) -> NDArray[np.float64]:
        """(rows,) nats, of what is answered; of numbers in units of the truth's deviation."""
        if self.task.roles.target_kind == "number":
            return losses(logits, self.task.truth(examples, self.outputs))
        right = [
            self.task.likelihood(answer, target)
            for answer, target in zip(answers, examples.target, strict=True)
        ]
        return -np.log(np.maximum(right, _LEAST))

    def after(self, best: Tried) -> "Held":
        """What artefacts of the chosen candidate share: a rule that came from folds stays as it is.

        On a graph's own answers to training rows it could not be settled again; where validation
        rows would do, it is for a model that is trained once more.
        """
        if best.scored is None or best.assessment is None:
            return self
        if best.scored.folds is None and not best.assessment.by_folds:
            return self
        return replace(self, decision=best.assessment.decision, anew=best.scored.folds is None)

    def _evidence(self, scored: Scored) -> tuple[Examples, Floats]:
        if self.folds is None or scored.folds is None:
            return self.validation, scored.validation_logits
        examples = both(self.folds.train, self.validation)
        return examples, under([scored.folds, scored.validation_logits])


def units_of(examples: Examples, group: str, task: Task) -> list[str] | None:
    """What is drawn together in an interval: the rows of a group; without one, the questions about
    one context; None where every row stands for itself.

    Args:
        examples: Rows.
        group: Column of their groups, or "". A row whose cell is empty stands for itself.
        task: Of the rows.
    """
    if group in examples.extra:
        cells = map(_text, examples.extra[group])
        return [name or f"{_ALONE}{row}" for row, name in enumerate(cells)]
    contexts = examples.inputs.get(CONTEXT, ())
    if task.roles.target_kind != "answer" or len(set(contexts)) == len(contexts):
        return None
    return [str(context) for context in contexts]


def answers_today(examples: Examples, baseline: str, task: Task) -> list[str] | None:
    """The baseline's answers as text; names are read as those of the rows' own labels are.

    Args:
        examples: Rows.
        baseline: Column of the answers, or "".
        task: Of the rows.
    """
    if baseline not in examples.extra:
        return None
    cells = [_text(cell) for cell in examples.extra[baseline]]
    return [_as_label(cell, task) for cell in cells] if task.roles.target_kind in NAMED else cells


def classes(task: Task, outputs: Sequence[str]) -> Sequence[str]:
    """What a check counts answers by: of one label a row the labels, which need not be the outputs.

    Args:
        task: Of the rows.
        outputs: Of the model.
    """
    return task.labels(outputs) if task.roles.target_kind == "label" else outputs


def of_the_artefact(criterion: Criterion) -> bool:
    """Whether it is about the bundle on this machine, not about its answers."""
    return isinstance(check_of(criterion.metric), MeasuresArtefact)


def timed(criterion: Criterion) -> bool:
    """Whether measuring it takes fresh processes and so seconds; size does not."""
    return of_the_artefact(criterion) and criterion.metric not in ("size_mb",)


def _as_label(cell: str, task: Task) -> str:
    try:
        return task.target.read(cell)
    except Unreadable:  # no label, and so no right answer
        return cell


def _text(cell: Any) -> str:
    return "" if cell is None else as_text(cell)

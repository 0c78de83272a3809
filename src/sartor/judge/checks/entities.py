"""Metrics of labelled parts of a text: named entities, slots.

Strict: a part counts where start, end and label are right, as seqeval and CoNLL count. Partial: one
whose edges are right counts whole, one that overlaps counts half, whatever the label, as in the
"partial" scheme of SemEval 2013 task 9 (Segura-Bedmar et al., https://aclanthology.org/S13-2056)
and of nervaluate. Undefined ratios are 0.

Rows are the unit: the parts of a row are drawn together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from sartor.core.errors import Fault
from sartor.core.spans import Span
from sartor.core.types import TargetKind
from sartor.judge.api import CHECKS, CannotMeasure, Part, Subject
from sartor.judge.faults import by_label_fault
from sartor.judge.ratios import RATIOS, averaged, metrics_by_label, micro, rows_behind
from sartor.judge.statistic import Floats, Statistic, proportion
from sartor.need.criterion import Criterion
from sartor.tasks import Unreadable
from sartor.tasks._target.spans import Spans
from sartor.tasks.token_classification.tagging import labels_of

METRICS: Mapping[str, str] = {
    **metrics_by_label(
        "parts",
        "are right",
        {
            "micro": "of parts whose edges and label are right, over all labels together",
            "partial": "where a part counts half whose edges are off, whatever its label",
        },
    ),
    "exact_match": "share of rows whose parts are all found, and no other",
}

Answer = tuple[Span, ...]


@CHECKS.add
@dataclass(frozen=True, slots=True)
class Entities:
    """Counts right and wrong parts of texts."""

    metrics: Mapping[str, str] = field(default_factory=lambda: METRICS)
    target: TargetKind | None = "spans"

    def fault(self, criterion: Criterion, outputs: Sequence[str]) -> Fault | None:
        return by_label_fault(criterion, labels_of(outputs))

    def parts(self, criterion: Criterion, subject: Subject) -> tuple[Part, ...]:
        truth, said = _answers(subject)
        part = Part.asked(
            criterion,
            _counted(criterion, truth, said, subject),
            lambda: _counted(criterion, truth, _baseline(subject), subject),
            of=rows_behind(criterion, labels_of(subject.outputs)),
        )
        return (part,)


def by_label(subject: Subject) -> list[dict[str, object]]:
    """For each label the parts that have it, that were given it, and that are both, as JSON."""
    truth, said = _answers(subject)
    names = _names(subject, truth, said)
    hits, true, given = (each.sum(0) for each in _strict(truth, said, names))
    return [
        {"label": name, "true": int(t), "said": int(g), "hits": int(h)}
        for name, t, g, h in zip(names, true, given, hits, strict=True)
    ]


def _counted(
    criterion: Criterion, truth: Sequence[Answer], said: Sequence[Answer], subject: Subject
) -> Statistic:
    metric = criterion.metric
    if metric == "exact_match":
        same = [set(one) == set(other) for one, other in zip(truth, said, strict=True)]
        return proportion(np.array(same, bool))
    name, _, how = metric.partition("_")
    ratio = RATIOS[name]
    if how == "partial":
        return micro(ratio, _partial(truth, said))
    names = _names(subject, truth, said)
    hits, true, given = _strict(truth, said, names)
    if how == "micro":
        return micro(ratio, (hits.sum(1), true.sum(1), given.sum(1)))
    if how:
        return averaged(ratio, (hits, true, given), weighted=how == "weighted")
    label = criterion.label(names)
    k = names.index(label) if label in names else None
    none = np.zeros(len(truth))
    counts = (none, none, none) if k is None else (hits[:, k], true[:, k], given[:, k])
    behind = {"recall": counts[1], "precision": counts[2], "f1": counts[1] + counts[2]}[name]
    return micro(ratio, counts, behind > 0)


def _strict(
    truth: Sequence[Answer], said: Sequence[Answer], names: Sequence[str]
) -> tuple[Floats, Floats, Floats]:
    """(rows, labels) parts that are both, that are true, and that were said."""
    index = {name: i for i, name in enumerate(names)}
    shape = len(truth), len(names)
    hits, true, given = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for row, (wanted, named) in enumerate(zip(truth, said, strict=True)):
        both = set(wanted) & set(named)
        for table, spans in ((hits, both), (true, wanted), (given, named)):
            for span in spans:
                table[row, index[span.label]] += 1
    return hits, true, given


def _partial(truth: Sequence[Answer], said: Sequence[Answer]) -> tuple[Floats, Floats, Floats]:
    """(rows,) credit, parts that are true, and parts that were said."""
    credit = np.array([_credit(one, two) for one, two in zip(truth, said, strict=True)])
    true, given = (np.array([len(each) for each in side], float) for side in (truth, said))
    return credit, true, given


def _credit(truth: Answer, said: Answer) -> float:
    """1 for each part whose edges are right, ½ for each that overlaps a true one nobody has."""
    found, left = 0.0, sorted(truth)
    for span in sorted(said):
        over = [one for one in left if one.start < span.end and span.start < one.end]
        same = next((one for one in over if (one.start, one.end) == (span.start, span.end)), None)
        if over:
            left.remove(same or over[0])
            found += 1.0 if same else 0.5
    return found


def _names(subject: Subject, truth: Sequence[Answer], said: Sequence[Answer]) -> tuple[str, ...]:
    """The model's labels, then those that only the rows or the answers have."""
    known = labels_of(subject.outputs)
    strange = {span.label for spans in (*truth, *said) for span in spans} - set(known)
    return (*known, *sorted(strange))


def _answers(subject: Subject) -> tuple[list[Answer], list[Answer]]:
    """The truth and what was said of each row.

    Raises:
        CannotMeasure: If answers and rows do not match.
    """
    truth: list[Answer] = list(subject.truth("list of parts"))
    return truth, [_said(answer) for answer in subject.answers]


def _said(answer: Mapping[str, object]) -> Answer:
    given = cast("Sequence[Mapping[str, Any]]", answer.get("entities") or ())
    return tuple(Span(each["start"], each["end"], each["label"]) for each in given)


def _baseline(subject: Subject) -> list[Answer]:
    form = Spans()
    try:
        return [form.value(form.read(cell)) if cell else () for cell in subject.today()]
    except Unreadable as error:
        raise CannotMeasure(f"The baseline: {error.what}.", fix=f"{error.fix}.") from None

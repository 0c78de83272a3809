"""Metrics of what was translated or summed up, each against one right text.

Rows are the unit; BLEU and chrF are of all rows together (`judge.ngrams`), so that a resample draws
what each row adds to their sums.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sartor.core.errors import Fault
from sartor.core.placeholders import lacking, placeholders_of
from sartor.core.types import TargetKind
from sartor.judge.api import CHECKS, Part, Subject
from sartor.judge.faults import exact_fault, parameter_fault, threshold_fault
from sartor.judge.ngrams import bleu, chrf, rouge_n
from sartor.judge.statistic import Statistic, proportion
from sartor.need.criterion import Criterion

METRICS: Mapping[str, str] = {
    "bleu": "runs of up to four words shared with the right ones, over all rows, 0 to 100",
    "chrf": "runs of up to six characters shared with the right ones, over all rows, 0 to 100",
    "rouge_1": "mean F1 of the words shared with the right one",
    "rouge_2": "mean F1 of the pairs of words shared with the right one",
    "placeholders_kept": "of rows whose text has placeholders or tags, those that keep all of them",
}
_HUNDREDS = ("bleu", "chrf")
_COMPARED: Mapping[str, Callable[[Sequence[str], Sequence[str]], Statistic]] = {
    "bleu": bleu,
    "chrf": chrf,
    "rouge_1": lambda said, right: rouge_n(said, right, 1),
    "rouge_2": lambda said, right: rouge_n(said, right, 2),
}


@CHECKS.add
@dataclass(frozen=True, slots=True)
class Translating:
    """Compares what was written with the right ones, and with what it was written of."""

    metrics: Mapping[str, str] = field(default_factory=lambda: METRICS)
    target: TargetKind | None = "text"

    def fault(self, criterion: Criterion, outputs: Sequence[str]) -> Fault | None:
        if criterion.metric in _HUNDREDS:
            return _hundred_fault(criterion) or parameter_fault(criterion, ())
        return threshold_fault(criterion, ()) or parameter_fault(criterion, ())

    def parts(self, criterion: Criterion, subject: Subject) -> tuple[Part, ...]:
        said = [str(answer.get("best") or "") for answer in subject.answers]
        part = Part.asked(
            criterion,
            _measured(criterion.metric, said, subject),
            lambda: _measured(criterion.metric, subject.today("texts"), subject),
        )
        return (part,)


def _measured(metric: str, said: Sequence[str], subject: Subject) -> Statistic:
    if metric in _COMPARED:
        return _COMPARED[metric](said, [str(text) for text in subject.examples.target])
    sources = [str(text) for text in subject.examples.texts]
    counted = np.array([bool(placeholders_of(text)) for text in sources], bool)
    kept = [not lacking(source, text) for source, text in zip(sources, said, strict=True)]
    return proportion(np.array(kept, bool), counted)


def _hundred_fault(criterion: Criterion) -> Fault | None:
    metric, limit = criterion.metric, criterion.threshold
    if exact := exact_fault(criterion):
        return exact
    low = -100.0 if criterion.relative_to else 0.0
    if not low <= limit <= 100:
        return Fault(
            criterion.line,
            f"{criterion.text!r}: {metric} lies between {low:g} and 100.",
            "write a threshold between these.",
        )
    if not criterion.relative_to and 0 < limit <= 1:
        return Fault(
            criterion.line,
            f"{criterion.text!r}: {metric} goes from 0 to 100, and {limit:g} is next to nothing.",
            f"write {100 * limit:g} if that share was meant.",
        )
    return None

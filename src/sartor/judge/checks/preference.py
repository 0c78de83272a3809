"""What a judge thinks of replies: how often it prefers them, and how often they pass its rubric.

win_rate     mean over rows of 1 where the reply is preferred, 0 where the other is, ½ for neither
rubric_rate  share of rows whose reply fulfils the need's rubric

The other reply is today's, where the need names a baseline, and the right one elsewhere. The judge
is a language model that the need names: its opinion stands for a person's only as far as it was
found to (Zheng et al. 2023, https://arxiv.org/abs/2306.05685).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sartor.core.errors import Fault
from sartor.core.types import TargetKind
from sartor.judge.api import CHECKS, CannotMeasure, Opinion, Part, Subject
from sartor.judge.faults import parameter_fault, threshold_fault
from sartor.judge.statistic import Statistic, mean, proportion
from sartor.need.criterion import Criterion

RUBRIC = "rubric_rate"
METRICS: Mapping[str, str] = {
    "win_rate": "share of rows whose reply the judge prefers to today's, or to the right one",
    RUBRIC: "share of rows whose reply fulfils the judge's rubric",
}


@CHECKS.add
@dataclass(frozen=True, slots=True)
class Preference:
    """Asks the judge."""

    metrics: Mapping[str, str] = field(default_factory=lambda: METRICS)
    target: TargetKind | None = "text"

    def fault(self, criterion: Criterion, outputs: Sequence[str]) -> Fault | None:
        if criterion.relative_to and criterion.metric == "win_rate":
            return Fault(
                criterion.line,
                f"{criterion.text!r}: win_rate is over the baseline already.",
                "write win_rate >= 0.5.",
            )
        return threshold_fault(criterion, ()) or parameter_fault(criterion, ())

    def parts(self, criterion: Criterion, subject: Subject) -> tuple[Part, ...]:
        opinion, texts = _opinion(subject), [str(text) for text in subject.examples.texts]
        said = [str(answer.get("best") or "") for answer in subject.answers]
        right = [str(reply) for reply in subject.truth("reply")]
        if criterion.metric == "win_rate":
            others = right if subject.baseline is None else list(subject.baseline)
            return (Part.asked(criterion, mean(opinion.better(texts, said, others), 0.0, 1.0)),)

        def today() -> Statistic:
            return proportion(opinion.fulfils(texts, subject.today("replies")))

        return (Part.asked(criterion, proportion(opinion.fulfils(texts, said)), today),)


def _opinion(subject: Subject) -> Opinion:
    if subject.opinion is None:
        raise CannotMeasure(
            "No judge is there to ask.",
            fix="name a language model under `judge` in the need.",
        )
    return subject.opinion

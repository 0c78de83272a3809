"""Metrics of replies in the model's own words, each against one right reply.

Rows are the unit; see `judge.replies` for how they are compared. Perplexity is that of all right
replies together, by token:

    exp(−Σ ln p of a right reply / Σ its tokens)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sartor.core.errors import Fault
from sartor.core.replies import words_of
from sartor.core.types import TargetKind
from sartor.judge.api import CHECKS, CannotMeasure, Part, Subject
from sartor.judge.faults import exact_fault, parameter_fault, threshold_fault
from sartor.judge.replies import ALONE, COMPARED, compared
from sartor.judge.statistic import Floats, Statistic, divide
from sartor.need.criterion import Criterion

METRICS: Mapping[str, str] = {
    **COMPARED,
    "length_ratio": "words of all replies to words of all right ones",
    **ALONE,
    "perplexity": "e to the mean of −ln p of the right replies' tokens: 1 is certainty",
}
_UNBOUNDED = ("perplexity", "length_ratio")
_BLIND = 10.8
"""Nats that a blind guess among 50,000 tokens costs: an unseen row may cost as much."""


@CHECKS.add
@dataclass(frozen=True, slots=True)
class Writing:
    """Compares replies with the right ones."""

    metrics: Mapping[str, str] = field(default_factory=lambda: METRICS)
    target: TargetKind | None = "text"

    def fault(self, criterion: Criterion, outputs: Sequence[str]) -> Fault | None:
        if criterion.metric in _UNBOUNDED:
            return _unbounded_fault(criterion) or parameter_fault(criterion, ())
        return threshold_fault(criterion, ()) or parameter_fault(criterion, ())

    def parts(self, criterion: Criterion, subject: Subject) -> tuple[Part, ...]:
        right = [str(reply) for reply in subject.examples.target]
        if criterion.metric == "perplexity":
            statistic = _perplexity(subject)
        else:
            said = [str(answer.get("best") or "") for answer in subject.answers]
            statistic = _measured(criterion.metric, said, right)
        part = Part.asked(
            criterion,
            statistic,
            lambda: _measured(criterion.metric, subject.today("replies"), right),
        )
        return (part,)


def _measured(metric: str, said: Sequence[str], right: Sequence[str]) -> Statistic:
    if metric != "length_ratio":
        return compared(metric, said, right)
    lengths = [[len(words_of(text)) for text in pair] for pair in zip(said, right, strict=True)]
    return _ratio(np.array(lengths, np.float64).reshape(-1, 2), lambda share: share, 1.0)


def _perplexity(subject: Subject) -> Statistic:
    found: list[Any] = [answer.get("right") for answer in subject.answers]
    if any(each is None for each in found):
        raise CannotMeasure(
            "perplexity needs the probability that a bundle gives to the right replies, and these"
            " are recorded answers.",
            fix="judge a bundle, or leave this criterion out.",
        )
    sums = np.array([[-log_p, tokens] for log_p, tokens in found], np.float64).reshape(-1, 2)
    return _ratio(sums, np.exp, _BLIND)


def _ratio(sums: Floats, after: Callable[[Floats], Floats], worst: float) -> Statistic:
    """after(Σ first / Σ second); a hypothetical row has the least seen, or the most or `worst`."""
    each = divide(sums[:, 0], sums[:, 1])
    usual = max(float(sums[:, 1].mean()), 1.0) if len(sums) else 1.0
    low, high = float(each.min(initial=worst)), float(each.max(initial=worst))
    return Statistic(
        kinds=np.column_stack([sums, np.ones(len(sums))]),
        code=np.arange(len(sums)),
        value=lambda total: after(divide(total[..., 0], total[..., 1])),
        lowers=np.array([[low * usual, usual, 1.0]]),
        raises=np.array([[high * usual, usual, 1.0]]),
        trials=np.array([0.0, 0.0, 1.0]),
    )


def _unbounded_fault(criterion: Criterion) -> Fault | None:
    metric, limit = criterion.metric, criterion.threshold
    if exact := exact_fault(criterion):
        return exact
    if criterion.relative_to and metric == "perplexity":
        return Fault(
            criterion.line,
            f"{criterion.text!r}: replies that are only recorded have no perplexity.",
            "compare rouge_l with the baseline.",
        )
    least = 1.0 if metric == "perplexity" else 0.0
    if not criterion.relative_to and limit <= least:
        return Fault(
            criterion.line,
            f"{criterion.text!r} cannot be met: {metric} lies above {least:g}.",
            "write a threshold above that.",
        )
    return None

"""The gap between training, validation and test: how much of the score was learnt by heart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sartor.judge.alpha import two_sided
from sartor.judge.api import Subject
from sartor.judge.intervals import interval
from sartor.judge.verdicts import RowsBehind, gather
from sartor.need.criterion import Criterion


@dataclass(frozen=True, slots=True)
class Score:
    """A metric on one part of the data.

    Args:
        value: In the metric's unit.
        low: Lower end of the interval at the criterion's confidence.
        high: Upper end.
        n: Rows behind it.
    """

    value: float
    low: float
    high: float
    n: int


def values(criteria: Sequence[Criterion], subject: Subject) -> dict[str, float]:
    """Criterion text to value alone, without the interval that a bootstrap would take time for.

    Criteria that cannot be measured are left out.
    """
    found: dict[str, float] = {}
    for criterion in criteria:
        behind = gather(criterion, subject)
        if isinstance(behind, RowsBehind) and behind.parts[0].statistic.n:
            found[criterion.text] = behind.parts[0].statistic.observed
    return found


def gaps(
    criteria: Sequence[Criterion], parts: Mapping[str, Subject], *, seed: int = 0
) -> dict[str, dict[str, Score]]:
    """Criterion text to part ("training", "validation", "test") to score.

    Criteria and parts that cannot be measured are left out.
    """
    table: dict[str, dict[str, Score]] = {}
    for criterion in criteria:
        scores: dict[str, Score] = {}
        for name, subject in parts.items():
            found = gather(criterion, subject)
            if not isinstance(found, RowsBehind) or found.parts[0].statistic.n == 0:
                continue
            statistic = found.parts[0].statistic
            low, high = interval(statistic, two_sided(criterion.confidence, 1), seed, found.groups)
            scores[name] = Score(statistic.observed, low, high, statistic.n)
        if scores:
            table[criterion.text] = scores
    return table

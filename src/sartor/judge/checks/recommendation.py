"""What a recommender shows, apart from whether it is right.

    coverage_at_k   the share of all items that are among the first k of any answer: Ge et al. 2010,
                    doi:10.1145/1864708.1864761
    novelty_at_k    the mean over the first k of every answer of log2((rows + 1) / (n + 1)), n the
                    rows whose history holds the item, in bits: 0 for what everybody chose. Zhou et
                    al. 2010, doi:10.1073/pnas.1000488107, smoothed by one row

Both are of the rows that are judged. Fewer different rows show fewer items, and so do the resamples
that the interval of the coverage comes from: it reaches down from the value rather than around it,
on the safe side of "at least".
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from sartor.core.errors import Fault
from sartor.core.histories import histories_in
from sartor.core.types import TargetKind
from sartor.judge.api import CHECKS, CannotMeasure, Part, Subject
from sartor.judge.checks.retrieval import DEPTHS, ranking_of
from sartor.judge.faults import parameter_fault, threshold_fault
from sartor.judge.statistic import Floats, Statistic, mean
from sartor.need.criterion import Criterion

_NAME = re.compile(r"(coverage|novelty)_at_(\d+)")
METRICS: Mapping[str, str] = {
    **{
        f"coverage_at_{k}": f"share of all items that are among the first {k} of some answer"
        for k in DEPTHS
    },
    **{
        f"novelty_at_{k}": f"how rare the first {k} are in the rows' histories, in bits"
        for k in DEPTHS
    },
}
_UNBOUNDED = tuple(f"novelty_at_{k}" for k in DEPTHS)


@CHECKS.add
@dataclass(frozen=True, slots=True)
class Recommendation:
    """Counts which items answers show."""

    metrics: Mapping[str, str] = field(default_factory=lambda: METRICS)
    target: TargetKind | None = "documents"

    def fault(self, criterion: Criterion, outputs: Sequence[str]) -> Fault | None:
        bounded = criterion
        if criterion.metric in _UNBOUNDED and criterion.threshold > 0:
            # Bits have no upper end; all else is asked of them as of a share.
            bounded = replace(criterion, threshold=min(criterion.threshold, 0.5))
        found = threshold_fault(bounded, (criterion.metric,))
        return found or parameter_fault(criterion, ())

    def parts(self, criterion: Criterion, subject: Subject) -> tuple[Part, ...]:
        found = _NAME.fullmatch(criterion.metric)
        assert found is not None, "only metrics of this check are measured"
        k = int(found[2])
        listed = [ranking_of(answer)[:k] for answer in subject.answers]
        if found[1] == "coverage":
            statistic = coverage(listed, subject.outputs)
        else:
            statistic = _novelty(listed, subject)
        return (Part.asked(criterion, statistic),)


def coverage(listed: Sequence[Sequence[str]], items: Sequence[str]) -> Statistic:
    """The share of the items that some row lists.

    Args:
        listed: What each row's answer shows.
        items: All there are.
    """
    place = {name: at for at, name in enumerate(items)}
    shown = [tuple(sorted(place[name] for name in row if name in place)) for row in listed]
    kinds = sorted(set(shown))
    marks = np.zeros((len(kinds), len(items) + 1))
    for at, kind in enumerate(kinds):
        marks[at, list(kind)] = 1.0
    # The last sum counts rows.
    marks[:, -1] = 1.0
    known = {kind: at for at, kind in enumerate(kinds)}
    rare = np.zeros((1, len(items) + 1))
    rare[0, -1] = 1.0
    wide = rare.copy()
    wide[0, np.argsort(marks[:, :-1].sum(0), kind="stable")[: max(map(len, shown), default=0)]] = 1
    trials = np.zeros(len(items) + 1)
    trials[-1] = 1.0
    return Statistic(
        kinds=marks,
        code=np.array([known[row] for row in shown], np.int64),
        value=_shares,
        lowers=rare,
        raises=wide,
        trials=trials,
    )


def _shares(sums: Floats) -> Floats:
    return (sums[..., :-1] > 0).mean(-1)


def _novelty(listed: Sequence[Sequence[str]], subject: Subject) -> Statistic:
    histories = histories_in(subject.examples.texts)
    if len(histories) != len(listed):
        raise CannotMeasure(
            "The rows have no histories that items could be rare in.",
            fix="ask for novelty where the task is recommendation.",
        )
    return mean(novelties(listed, histories), 0.0, float(np.log2(len(listed) + 1)))


def novelties(
    listed: Sequence[Sequence[str]], histories: Sequence[Sequence[str]]
) -> NDArray[np.float64]:
    """(rows,) the mean rarity of what each row lists, in bits; 0 where it lists nothing.

    Args:
        listed: What each row's answer shows.
        histories: What each row chose before.
    """
    held = Counter(name for history in histories for name in set(history))
    rows = len(histories)
    return np.array(
        [
            np.mean([np.log2((rows + 1) / (held[name] + 1)) for name in row]) if row else 0.0
            for row in listed
        ],
        np.float64,
    )

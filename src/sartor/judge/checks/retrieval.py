"""Metrics of ranked documents, over the rows that a document answers.

    recall_at_k   the share of a row's right documents among the first k
    ndcg_at_k     Σ over right ones at place i ≤ k of 1 / log2(i + 1), over the most it could be:
                  Järvelin and Kekäläinen 2002, doi:10.1145/582415.582418, as scikit-learn has it
    mrr           1 / the place of the first right one; 0 where the answer does not list one

Rows are the unit of the intervals. Ranks count whether or not the answer stands behind its first
document; `automation_rate` counts how often it does, and how well, over all rows.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sartor.core.errors import Fault
from sartor.core.types import TargetKind
from sartor.judge.api import CHECKS, CannotMeasure, Part, Subject
from sartor.judge.automation import automation
from sartor.judge.faults import parameter_fault, threshold_fault
from sartor.judge.statistic import Floats, Statistic, divide, proportion
from sartor.need.criterion import Criterion

DEPTHS = (1, 2, 3, 5, 10, 20, 50, 100)
"""What k may be."""
_NAME = re.compile(r"(recall|ndcg)_at_(\d+)")
_ANSWERED = ("automation_rate", "rejection_recall")

METRICS: Mapping[str, str] = {
    **{
        f"recall_at_{k}": f"share of a row's right documents among the first {k}, over rows"
        for k in DEPTHS
    },
    **{
        f"ndcg_at_{k}": f"how high the right documents stand among the first {k}: 1 where on top"
        for k in DEPTHS
    },
    "mrr": "mean of 1 / the place of the first right document, among those an answer lists",
    "automation_rate": "share of rows answered without a person; takes [precision >= …]",
    "rejection_recall": "of the rows that no document answers, the share that is not answered",
}

RANKS = frozenset(METRICS) - frozenset(_ANSWERED)
"""Metrics of the order alone: any ranking has them."""
Ranked = Sequence[str]


@CHECKS.add
@dataclass(frozen=True, slots=True)
class Retrieval:
    """Counts where the right documents stand."""

    metrics: Mapping[str, str] = field(default_factory=lambda: METRICS)
    target: TargetKind | None = "documents"

    def fault(self, criterion: Criterion, outputs: Sequence[str]) -> Fault | None:
        takes = ("precision",) if criterion.metric == "automation_rate" else ()
        found = threshold_fault(criterion, _ANSWERED)
        return found or parameter_fault(criterion, takes)

    def parts(self, criterion: Criterion, subject: Subject) -> tuple[Part, ...]:
        truth = _truth(subject)
        if criterion.metric in _ANSWERED:
            return _answering(criterion, truth, subject)
        listed = [ranking_of(answer) for answer in subject.answers]
        part = Part.asked(
            criterion,
            _statistic(criterion.metric, listed, truth),
            lambda: _statistic(criterion.metric, _baseline(subject), truth),
        )
        return (part,)


def recall(ranked: Ranked, right: frozenset[str], k: int) -> float:
    """The share of the right documents among the first k."""
    return len(right.intersection(ranked[:k])) / len(right)


def reciprocal(ranked: Ranked, right: frozenset[str]) -> float:
    """1 / the place of the first right document, from 1; 0 where there is none."""
    return next((1 / place for place, name in enumerate(ranked, 1) if name in right), 0.0)


def ndcg(ranked: Ranked, right: frozenset[str], k: int) -> float:
    """Discounted gain of the first k over the most that it could be."""
    gains = 1 / np.log2(np.arange(2, k + 2))
    found = sum(float(gains[i]) for i, name in enumerate(ranked[:k]) if name in right)
    return found / float(gains[: min(len(right), k)].sum())


def _statistic(metric: str, listed: Sequence[Ranked], truth: Sequence[frozenset[str]]) -> Statistic:
    counted = np.array([bool(right) for right in truth], bool)
    if metric == "mrr":
        values = [reciprocal(*pair) if pair[1] else 0.0 for pair in zip(listed, truth, strict=True)]
        return _mean(np.array(values), counted)
    found = _NAME.fullmatch(metric)
    assert found is not None, "only metrics of this check are measured"
    k = int(found[2])
    if found[1] == "recall" and all(len(right) <= 1 for right in truth):
        hits = [
            bool(right) and recall(one, right, k) == 1.0
            for one, right in zip(listed, truth, strict=True)
        ]
        return proportion(np.array(hits, bool), counted)
    of = recall if found[1] == "recall" else ndcg
    values = [of(one, right, k) if right else 0.0 for one, right in zip(listed, truth, strict=True)]
    return _mean(np.array(values), counted)


def _mean(values: Floats, counted: NDArray[np.bool_]) -> Statistic:
    """The mean over the rows that count."""
    return Statistic(
        kinds=np.column_stack([values * counted, counted]).astype(float),
        code=np.arange(len(values)),
        value=lambda sums: divide(sums[..., 0], sums[..., 1]),
        lowers=np.array([[0.0, 1.0]]),
        raises=np.array([[1.0, 1.0]]),
        trials=np.array([0.0, 1.0]),
    )


def _answering(
    criterion: Criterion, truth: Sequence[frozenset[str]], subject: Subject
) -> tuple[Part, ...]:
    said = [answer.get("answer") for answer in subject.answers]
    answered = np.array([name is not None for name in said], bool)
    if criterion.metric == "rejection_recall":
        none = np.array([not right for right in truth], bool)
        rate = proportion(~answered & none, none)
        return (Part.asked(criterion, rate, name="rejection recall"),)
    right = np.array([name in names for name, names in zip(said, truth, strict=True)], bool)
    return automation(criterion, answered, right)


def _truth(subject: Subject) -> list[frozenset[str]]:
    return [frozenset(names) for names in subject.truth("list of documents")]


def ranking_of(answer: Mapping[str, object]) -> Ranked:
    """Ids of what an answer lists, the best first."""
    documents = answer.get("documents", ())
    return [str(entry["id"]) for entry in documents]  # type: ignore[attr-defined,index]  # answers are mappings of objects


def _baseline(subject: Subject) -> list[Ranked]:
    """Today's ranking of each row: a JSON list of ids, the best first, or one id."""
    # Of an id that a cell repeats the first place counts: nobody is shown a document twice.
    return [list(dict.fromkeys(_ranking(cell.strip()))) for cell in subject.today()]


def _ranking(cell: str) -> Ranked:
    if not cell.startswith("["):
        return [cell] if cell else []
    try:
        found = json.loads(cell)
    except (ValueError, RecursionError):
        raise CannotMeasure(
            f"The baseline {cell[:80]!r} begins as a list and is none.",
            fix='write the ids as a JSON list, the best first: ["a1", "a7"].',
        ) from None
    return [str(name) for name in found]

"""Metrics of a risk: how well probabilities rank, how true they are, and what mistakes cost.

pr_auc         average precision of the rows by the label's probability
brier          mean of (p − y)²; of more than two labels without one named, Σ_k (p_k − y_k)²
expected_cost  mean of miss · [missed] + false_alarm · [wrongly given], a row's cost in your unit

Brier 1950, doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2; as scikit-learn defines them. The
rule that answers is settled on validation rows for the cost that the criterion names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sartor.core.errors import Fault
from sartor.core.near import near_miss
from sartor.core.types import TargetKind
from sartor.judge.api import CHECKS, Part, Subject
from sartor.judge.average_precision import mean_average_precision
from sartor.judge.faults import exact_fault
from sartor.judge.outcomes import outcomes, probabilities
from sartor.judge.statistic import Statistic, mean
from sartor.need.criterion import Bound, Criterion
from sartor.tasks.text_classification.settling import costs, costs_of

METRICS: Mapping[str, str] = {
    "pr_auc": "average precision of the rows ranked by the label's probability; takes [label=…]",
    "brier": "mean squared distance of the stated probability from the truth; takes [label=…]",
    "expected_cost": "mean cost of an answer; takes [label=…, miss=…, false_alarm=…]",
}
_COSTS = ("miss", "false_alarm")


@CHECKS.add
@dataclass(frozen=True, slots=True)
class Risk:
    """Average precision, Brier score and cost of one label a row."""

    metrics: Mapping[str, str] = field(default_factory=lambda: METRICS)
    target: TargetKind | None = "label"

    def fault(self, criterion: Criterion, outputs: Sequence[str]) -> Fault | None:
        if exact := exact_fault(criterion):
            return exact
        found = _value_fault(criterion) or _parameter_fault(criterion, outputs)
        return None if found is None else Fault(criterion.line, *found)

    def parts(self, criterion: Criterion, subject: Subject) -> tuple[Part, ...]:
        statistic = _statistic(criterion, subject)
        return (Part.asked(criterion, statistic, name=_NAMES[criterion.metric]),)


_NAMES = {
    "pr_auc": "average precision",
    "brier": "Brier score",
    "expected_cost": "cost of an answer",
}


def _statistic(criterion: Criterion, subject: Subject) -> Statistic:
    found = outcomes(subject)
    named = criterion.label(subject.outputs)
    label = named or subject.outputs[-1]
    place = list(subject.outputs).index(label)
    true = found.truth == place
    if criterion.metric == "expected_cost":
        each = costs_of(criterion)
        return mean(costs(found.best == place, true, each), 0.0, max(each))
    table = probabilities(subject, criterion.metric)
    if criterion.metric == "pr_auc":
        return mean_average_precision(table[:, [place]], true[:, None])
    if named is not None or len(subject.outputs) == 2:
        return mean((table[:, place] - true) ** 2, 0.0, 1.0)
    # A label that the model does not know is one to which it gives nothing.
    truth = found.truth[:, None] == np.arange(len(found.classes))
    stated = np.hstack([table, np.zeros((len(table), truth.shape[1] - table.shape[1]))])
    return mean(((stated - truth) ** 2).sum(1), 0.0, 2.0)


def _value_fault(criterion: Criterion) -> tuple[str, str] | None:
    text, metric, limit = criterion.text, criterion.metric, criterion.threshold
    if criterion.relative_to:
        what = "the baseline's labels have no probabilities"
        if metric == "expected_cost":
            what = "a cost is not compared with a baseline"
        return f"{text!r}: {what}.", "compare accuracy, precision, recall or F1 with the baseline."
    top = {"pr_auc": 1.0, "brier": 2.0}.get(metric, float("inf"))
    possible = 0 <= limit < top if criterion.wants_more else 0 < limit <= top
    if possible:
        return None
    ends = "is above 0" if metric == "expected_cost" else f"lies between 0 and {top:g}"
    return f"{text!r} cannot be met: {metric} {ends}.", "write a threshold inside that range."


def _parameter_fault(criterion: Criterion, outputs: Sequence[str]) -> tuple[str, str] | None:
    text, metric = criterion.text, criterion.metric
    takes = ("label", *_COSTS) if metric == "expected_cost" else ("label",)
    first = outputs[0] if outputs else "name"
    right = f"{metric}[label={first}{', miss=5, false_alarm=1' if len(takes) > 1 else ''}]"
    for name, value in criterion.parameters:
        if name not in takes:
            return f"{text!r}: {metric} takes no parameter {name!r}.", near_miss(name, takes)
        if isinstance(value, Bound) or (name in _COSTS and not _is_cost(value)):
            return f"{text!r}: {name!r} is not written that way.", f"write {right}."
    label = criterion.label(outputs)
    needs = metric == "expected_cost" or (metric == "pr_auc") or len(outputs) < 2
    if label is None and needs:
        return f"{text!r} does not say of which label.", f"write {right}."
    if label is not None and label not in outputs:
        return f"{text!r}: no label is called {label!r}.", near_miss(label, outputs)
    return None


def _is_cost(value: object) -> bool:
    return isinstance(value, int | float) and 0 <= value <= 1e9

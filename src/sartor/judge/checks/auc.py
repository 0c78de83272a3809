"""AUC: how well the model's probabilities rank the rows of a label above the others.

AUC = P(s⁺ > s⁻) + ½ P(s⁺ = s⁻),   s the score of a row with the label, and of one without

Its placements (DeLong et al. 1988, https://doi.org/10.2307/2531595): of a row with the label, the
share of the others that it stands above; of one without, the share of those that stand above it.
Either mean is the AUC, and to first order a resample moves it by what it moves both:

    AUC* = mean of the one* + mean of the other* − AUC

So the bootstrap that judges every other metric has DeLong's variance here, over groups too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sartor.core.errors import Fault
from sartor.core.near import near_miss
from sartor.core.types import TargetKind
from sartor.judge.api import CHECKS, Part, Subject
from sartor.judge.faults import exact_fault
from sartor.judge.outcomes import outcomes, probabilities
from sartor.judge.statistic import Floats, Statistic, divide
from sartor.need.criterion import Bound, Criterion

METRICS: Mapping[str, str] = {
    "auc": "chance that a row with the label is ranked above one without; takes [label=…]",
}


@CHECKS.add
@dataclass(frozen=True, slots=True)
class Auc:
    """Ranks rows by the probability of a label; of two labels, either gives the same."""

    metrics: Mapping[str, str] = field(default_factory=lambda: METRICS)
    target: TargetKind | None = "label"

    def fault(self, criterion: Criterion, outputs: Sequence[str]) -> Fault | None:
        if exact := exact_fault(criterion):
            return exact
        found = _value_fault(criterion) or _label_fault(criterion, outputs)
        return None if found is None else Fault(criterion.line, *found)

    def parts(self, criterion: Criterion, subject: Subject) -> tuple[Part, ...]:
        label = criterion.label(subject.outputs) or subject.outputs[-1]
        table = probabilities(subject, criterion.metric)
        place = list(subject.outputs).index(label)
        others = np.delete(table, place, axis=1).max(1, initial=0.0)
        # Of two labels the difference: near 1 it tells apart what one probability has rounded.
        score = table[:, place] - others if table.shape[1] == 2 else table[:, place]
        found = outcomes(subject)
        statistic = ranking(score, found.truth == place)
        return (Part.asked(criterion, statistic, name="AUC"),)


def ranking(score: Floats, positive: NDArray[np.bool_]) -> Statistic:
    """The AUC of a score, from the placements of its rows.

    Args:
        score: (rows,), higher for rows that should have the label.
        positive: (rows,), which have it.
    """
    up, down = np.sort(score[positive]), np.sort(score[~positive])
    both = float(bool(len(up) and len(down)))
    above = divide(_below(down, score), np.full(len(score), float(len(down))))
    beneath = 1 - divide(_below(up, score), np.full(len(score), float(len(up))))
    has = positive.astype(float)
    kinds = both * np.column_stack([has * above, has, (1 - has) * beneath, 1 - has])
    observed = float(above[positive].mean()) if both else 0.0

    def value(sums: Floats) -> Floats:
        # A resample without either kind of row says nothing of that kind.
        means = (
            np.where(sums[..., i + 1] > 0, divide(sums[..., i], sums[..., i + 1]), observed)
            for i in (0, 2)
        )
        return np.clip(sum(means) - observed, 0.0, 1.0)

    # One more row with the label below all others, or one without above them; and the reverse.
    return Statistic(
        kinds=kinds,
        code=np.arange(len(score)),
        value=value,
        lowers=np.array([[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]),
        raises=np.array([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]]),
        trials=np.array([0.0, 1.0, 0.0, 1.0]),
    )


def _below(known: Floats, score: Floats) -> Floats:
    """(rows,) how many of `known`, ascending, lie below each score; equal ones count half."""
    left, right = (np.searchsorted(known, score, side) for side in ("left", "right"))
    return (left + right) / 2


def _value_fault(criterion: Criterion) -> tuple[str, str] | None:
    text, limit = criterion.text, criterion.threshold
    if criterion.relative_to:
        return (
            f"{text!r}: the baseline's labels have no auc.",
            "compare accuracy, precision, recall or F1 with the baseline.",
        )
    possible = 0 <= limit < 1 if criterion.wants_more else 0 < limit <= 1
    if possible:
        return None
    return (
        f"{text!r} cannot be met: auc lies between 0 and 1, and 1 takes rows without end.",
        "ask for a little less, e.g. 0.95; guessing gives 0.5.",
    )


def _label_fault(criterion: Criterion, outputs: Sequence[str]) -> tuple[str, str] | None:
    text = criterion.text
    for name, bound in criterion.parameters:
        if name != "label" or isinstance(bound, Bound):
            first = outputs[0] if outputs else "name"
            return f"{text!r}: auc takes no parameter like that.", f"write auc[label={first}]."
    label = criterion.label(outputs)
    if label is None and len(outputs) > 2:
        return (
            f"{text!r} does not say of which of {len(outputs)} labels.",
            f"write auc[label={outputs[0]}].",
        )
    if label is not None and label not in outputs:
        return f"{text!r}: no label is called {label!r}.", near_miss(label, outputs)
    return None

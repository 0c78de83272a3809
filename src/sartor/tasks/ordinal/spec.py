"""Levels in an order: a text in, one of bad, fair, good out; or one of 1 … 5.

A model of the levels' probabilities, as in text classification; what is said follows from the
order: see `settling`. To be two levels off is worse than to be one off, so the metric to ask for is
quadratic weighted kappa or the mean error in levels (`judge.checks.ordinal`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sartor.core.errors import DataError
from sartor.core.numerals import number_of
from sartor.core.types import Examples, Roles
from sartor.need.criterion import Criterion
from sartor.tasks import TASKS
from sartor.tasks._target.level import Level
from sartor.tasks.ordinal.settling import decide, settled
from sartor.tasks.text_classification.spec import TextClassification

_BY_LABEL = ("precision", "recall")


@TASKS.add
@dataclass(frozen=True, slots=True)
class Ordinal(TextClassification):
    """A text in, one level of an ordered list out."""

    @property
    def roles(self) -> Roles:
        return Roles(inputs={"text": "text"}, targets={"label": "level"})

    @property
    def target(self) -> Level:
        return Level()

    def outputs(self, examples: Examples, declared: Sequence[str] | None) -> list[str]:
        """The declared levels in their order, else the numbers that occur, rising.

        Raises:
            DataError: If fewer than two levels occur, or they are words in no declared order.
        """
        found = TextClassification.outputs(self, examples, declared)
        if declared:
            return found
        places = {name: number_of(name) for name in found}
        if words := [name for name, place in places.items() if place is None]:
            raise DataError(
                f"The levels are words ({', '.join(found[:8])}), and nothing says their order: "
                f"{words[0]!r} is no number.",
                fix="list them under data.labels, the lowest first.",
            )
        return sorted(found, key=lambda name: places[name] or 0.0)

    def rule(
        self,
        probabilities: NDArray[np.float64],
        truth: NDArray[np.intp],
        outputs: Sequence[str],
        criteria: Sequence[Criterion],
        count: float,
    ) -> dict[str, Any]:
        """Weights where a criterion asks about one level; else what the order calls for."""
        if any(c.metric in _BY_LABEL and c.label(outputs) is not None for c in criteria):
            weights = TextClassification.rule(self, probabilities, truth, outputs, criteria, count)
            return {"rule": "mode", **weights}
        return settled(probabilities, truth, criteria)

    def chosen(
        self,
        probabilities: NDArray[np.float64],
        outputs: Sequence[str],
        decision: Mapping[str, Any],
    ) -> NDArray[np.intp]:
        rule = decision.get("rule", "mode")
        if rule == "mode":
            return TextClassification.chosen(self, probabilities, outputs, decision)
        return decide(probabilities, rule, decision.get("cuts", ()))

    def starters(self, proven: float, label: str) -> list[str]:
        return [
            "- quadratic_weighted_kappa >= 0.60",
            "# - mae <= 0.5                         # levels that an answer is off, on average",
            "# - within_one >= 0.90                 # at most one level off",
            f"# - recall[label={label}] >= 0.75",
        ]

"""A number a text, with an interval that holds the truth as often as it says.

value = z,   low = z − q,   high = z + q

q is the ⌈(n + 1) · coverage⌉-th smallest |y − z| of the n validation rows: of texts like those, the
interval holds at least that share (split conformal prediction: Vovk, Gammerman and Shafer 2005;
Lei et al. 2018, https://arxiv.org/abs/1604.04173). The model has one output, so every interval is
as wide as the next.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from sartor.core.errors import DataError
from sartor.core.likelihood import Truth
from sartor.core.protocols import Floats
from sartor.core.texts import Text
from sartor.core.types import Examples, Roles
from sartor.need.criterion import Criterion
from sartor.tasks import TASKS, Brief
from sartor.tasks._decision.logits import BROKEN, refuse_broken, shown
from sartor.tasks._decision.margins import ENOUGH
from sartor.tasks._target.number import Number
from sartor.tasks._target.schema import SHARE, TEXT, object_of, or_null

OUTPUT = "value"
COVERAGE = 0.9
"""Where no criterion asks for another."""
_MOST = 0.999


@TASKS.add
@dataclass(frozen=True, slots=True)
class TextRegression:
    """A text in, a number out."""

    @property
    def roles(self) -> Roles:
        return Roles(inputs={"text": "text"}, targets={"label": "number"})

    @property
    def target(self) -> Number:
        return Number()

    def outputs(self, examples: Examples, declared: Sequence[str] | None) -> list[str]:
        """One: the number.

        Raises:
            DataError: If the need declares labels, or all numbers are the same.
        """
        if declared:
            raise DataError(
                f"data.labels lists {len(declared)} labels, and the task predicts a number.",
                fix="leave data.labels out, or use task ordinal for a few levels in an order.",
            )
        if len(set(examples.target)) < 2:
            raise DataError(
                "The training rows hold one number alone; there is nothing to tell apart.",
                fix="check data.label, or add rows with another number.",
            )
        return [OUTPUT]

    def truth(self, examples: Examples, outputs: Sequence[str]) -> Truth:
        """(rows,) float32."""
        return np.array(examples.target, np.float32)

    def settle(
        self,
        logits: Floats,
        examples: Examples,
        outputs: Sequence[str],
        criteria: Sequence[Criterion],
        test_rows: int = 0,
    ) -> dict[str, Any]:
        """Fit the width of the intervals on validation rows.

        Args:
            logits: (examples, 1).
            examples: Validation rows with their numbers.
            outputs: The one.
            criteria: One on `coverage` says how often the truth should lie inside.
            test_rows: Rows that the criteria will be proven on; 0 for as many as these.

        Raises:
            Diverged: If a logit is not a finite number.
        """
        refuse_broken(logits)
        said = np.asarray(logits, np.float64)[:, 0]
        errors = np.sort(np.abs(said - np.array(examples.target, np.float64)))
        wanted = coverage_of(criteria, min(len(errors), test_rows or len(errors)))
        # Of too few rows none is far enough: then the farthest there is stands in, and says so.
        place = min(math.ceil((len(errors) + 1) * wanted), len(errors))
        reached = min(wanted, place / (len(errors) + 1)) if len(errors) else 0.0
        half = float(errors[place - 1]) if len(errors) else 0.0
        return {"half_width": half, "coverage": round(reached, 4)}

    def labels(self, outputs: Sequence[str]) -> list[str]:
        return []

    def decode(
        self,
        logits: Floats,
        outputs: Sequence[str],
        decision: Mapping[str, Any],
        texts: Sequence[Text] = (),
    ) -> list[dict[str, Any]]:
        """Outputs to answers.

        Returns:
            One mapping a row: `value` (or None), `low`, `high`, `coverage` and `reason` where
            `value` is None. A row whose output is no finite number is never answered.
        """
        half = float(decision.get("half_width", 0.0))
        coverage = float(decision.get("coverage", 0.0))
        answers: list[dict[str, Any]] = []
        for number in np.asarray(logits, np.float64)[:, 0].tolist():
            if math.isfinite(number):
                ends = {"value": number, "low": number - half, "high": number + half}
                answers.append({k: shown(v) for k, v in ends.items()} | {"coverage": coverage})
            else:
                none = dict.fromkeys(("value", "low", "high"))
                answers.append({**none, "coverage": coverage, "reason": BROKEN})
        return answers

    def brief(self, answer: Mapping[str, Any]) -> Brief:
        """Its confidence is how often such an interval holds the truth."""
        number = answer["value"]
        text = None if number is None else self.target.text(float(number))
        return Brief(text, text or "", 0.0 if number is None else float(answer["coverage"]))

    def likelihood(self, answer: Mapping[str, Any], target: float) -> float:
        """Chance that the truth lies as far away as it does or farther, were errors Gaussian and as
        wide as the interval says."""
        if answer["value"] is None:
            return 0.0
        half = (float(answer["high"]) - float(answer["low"])) / 2
        apart = abs(float(target) - float(answer["value"]))
        if half <= 0:
            return float(apart <= 0)
        inside = min(max(float(answer["coverage"]), 0.01), _MOST)
        deviation = half / NormalDist().inv_cdf((1 + inside) / 2)
        return 2 * (1 - NormalDist().cdf(apart / deviation))

    def schema(self, outputs: Sequence[str]) -> dict[str, Any]:
        number = or_null({"type": "number"})
        ends = dict.fromkeys(("value", "low", "high"), number)
        return object_of({**ends, "coverage": SHARE, "reason": TEXT}, ("reason",))

    def starters(self, proven: float, label: str) -> list[str]:
        return [
            "- spearman >= 0.50",
            "# - mae <= 0.5                         # in the numbers' own unit",
            "# - r2 >= 0.40",
            "# - coverage >= 0.85                   # truths inside their interval",
            "# - interval_width <= 2.0",
        ]


def coverage_of(criteria: Sequence[Criterion], rows: int) -> float:
    """How often the truth should lie inside: a little more than a criterion asks to be shown.

    Args:
        criteria: Of the need.
        rows: Validation or test rows, the fewer, which tell it to a standard error.
    """
    asked = [c.threshold for c in criteria if c.metric == "coverage" and c.wants_more]
    asked = [share for share in asked if 0 < share < 1]
    if not asked:
        return COVERAGE
    most = max(asked)
    return min(most + ENOUGH * math.sqrt(most * (1 - most) / max(rows, 1)), _MOST)

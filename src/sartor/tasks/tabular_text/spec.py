"""Columns and a text: numbers, categories and dates in, with a note or without, one label out.

The answers, the decision rule and the criteria are those of text classification, which knows
nothing of what was read. An answer also says what of its row no training row was like.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sartor.core.types import Roles
from sartor.tasks import TASKS
from sartor.tasks._target.schema import TEXT, list_of
from sartor.tasks.text_classification.spec import TextClassification


@TASKS.add
@dataclass(frozen=True, slots=True)
class TabularText(TextClassification):
    """Columns in, and a text where there is one; one of a fixed set of labels out."""

    @property
    def roles(self) -> Roles:
        return Roles(
            inputs={"text": "text"}, targets={"label": "label"}, optional=("text",), columns=True
        )

    def schema(self, outputs: Sequence[str]) -> dict[str, Any]:
        # Spelt out: with slots, `super()` would look in the class that the decorator replaced.
        found = TextClassification.schema(self, outputs)
        return {**found, "properties": {**found["properties"], "notes": list_of(TEXT)}}

    def starters(self, proven: float, label: str) -> list[str]:
        return [
            f"- accuracy >= {proven:.2f}",
            f"- auc[label={label}] >= 0.70",
            f"# - pr_auc[label={label}] >= 0.50",
            f"# - expected_cost[label={label}, miss=5, false_alarm=1] <= 0.60   # a missed"
            f" {label} costs 5",
            f"# - brier[label={label}] <= 0.20",
        ]

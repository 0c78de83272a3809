"""Pairs of texts: two in, one label out. Duplicate questions, entailment, relevance.

The decision rule is that of text classification, which knows nothing of what was read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sartor.core.protocols import Floats
from sartor.core.types import Examples, Roles
from sartor.need.criterion import Criterion
from sartor.tasks import TASKS
from sartor.tasks.text_classification.spec import TextClassification

_LABELS = TextClassification()


@TASKS.add
@dataclass(frozen=True, slots=True)
class TextPair:
    """Two texts in, one of a fixed set of labels out."""

    @property
    def roles(self) -> Roles:
        return Roles(inputs={"text": "text", "text_pair": "text"}, targets={"label": "label"})

    def outputs(self, examples: Examples, declared: Sequence[str] | None) -> list[str]:
        return _LABELS.outputs(examples, declared)

    def settle(
        self,
        logits: Floats,
        examples: Examples,
        outputs: Sequence[str],
        criteria: Sequence[Criterion],
    ) -> dict[str, Any]:
        return _LABELS.settle(logits, examples, outputs, criteria)

    def decode(
        self, logits: Floats, outputs: Sequence[str], decision: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        return _LABELS.decode(logits, outputs, decision)

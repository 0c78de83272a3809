"""Pairs of texts: two in, one label out. Duplicate questions, entailment, relevance.

The answers, the decision rule and the criteria are those of text classification, which knows
nothing of what was read.
"""

from dataclasses import dataclass

from sartor.core.types import Roles
from sartor.tasks import TASKS
from sartor.tasks.text_classification.spec import TextClassification


@TASKS.add
@dataclass(frozen=True, slots=True)
class TextPair(TextClassification):
    """Two texts in, one of a fixed set of labels out."""

    @property
    def roles(self) -> Roles:
        return Roles(inputs={"text": "text", "text_pair": "text"}, targets={"label": "label"})

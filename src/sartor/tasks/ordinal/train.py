"""The training half of levels: that of text classification."""

from dataclasses import dataclass

from sartor.tasks import TRAINERS
from sartor.tasks._encoder.model import load
from sartor.tasks.text_classification.train import TextClassification

__all__ = ["Ordinal", "load"]


@TRAINERS.add
@dataclass(frozen=True, slots=True)
class Ordinal(TextClassification):
    """What the task adds to every method's settings: what text classification adds.

    Cross-entropy tells the levels' probabilities; their order is the decision rule's matter.
    """

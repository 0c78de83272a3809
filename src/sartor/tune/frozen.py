"""What a closed form reads and leaves: the frozen backbone over a job's rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tokenizers import Tokenizer
from torch import nn
from transformers import PreTrainedModel

from sartor.core.columns import TableCode
from sartor.core.likelihood import Truth
from sartor.core.protocols import Floats
from sartor.core.texts import Text
from sartor.core.types import Backbone
from sartor.tasks._encoder.model import TextClassifier

Build = Callable[[PreTrainedModel, int, Sequence[int], Mapping[str, Any]], nn.Module]
"""A freshly loaded encoder, the number of outputs, the layers to read and the head's shape, to the
model: see `on` of the task's training half."""


class FeatureSource(Protocol):
    """Texts to pooled hidden states, through the activation cache."""

    @property
    def max_length(self) -> int:
        """Tokens a text is cut at."""
        ...

    def features(self, texts: Sequence[Any], layers: Sequence[int]) -> Floats:
        """(texts, len(layers) * width); of two texts a row, as many columns as are compared."""
        ...


@dataclass(frozen=True, slots=True)
class Frozen:
    """A frozen backbone, and the rows that closed forms are fitted on.

    Args:
        backbone: Whose activations are read.
        source: Its encoder, through the cache; any text may be asked for, alone.
        train: Training texts, or tuples of them.
        validation: Validation texts, or tuples of them.
        labels: The truth of the training rows; see `core.likelihood` for its forms.
        held: Of the validation rows.
        outputs: Names of the classes, in order.
        descriptions: What a class means, in words, where the user said so.
        rows: What a head reads of the rows, through the cache; None reads `source`.
        build: See `Build`.
        code: How the rows' columns become numbers; None where they have none.
    """

    backbone: Backbone
    source: FeatureSource
    train: Sequence[Any]
    validation: Sequence[Any]
    labels: Truth
    held: Truth
    outputs: Sequence[str]
    descriptions: Mapping[str, str]
    rows: FeatureSource | None = None
    build: Build = TextClassifier
    code: TableCode | None = None

    @property
    def pairs(self) -> bool:
        """Whether a row is several texts."""
        return bool(len(self.train)) and not isinstance(self.train[0], str)

    def features(self, texts: Sequence[Text], layers: Sequence[int]) -> Floats:
        """What a head reads of rows."""
        return (self.rows or self.source).features(texts, layers)


@dataclass(frozen=True, slots=True)
class Point:
    """One candidate among those that are fitted together.

    Args:
        method: With its settings.
        layers: Hidden states to read, counted from 0.
        weights: Weight of each class in the loss.
        seed: The candidate's.
    """

    method: Any
    layers: tuple[int, ...]
    weights: tuple[float, ...]
    seed: int


def _nothing(_: PreTrainedModel) -> nn.Module:
    raise ValueError("a model that was made already is not built")


@dataclass(frozen=True, slots=True)
class ClosedFit:
    """What a closed form leaves of one point.

    Args:
        validation_logits: (validation rows, outputs).
        train_logits: (training rows, outputs); rows that were not scored are NaN.
        build: The model to ship, in eval mode, from a freshly loaded encoder.
        made: The model to ship and the tokenizer of its texts, where it is no head on the encoder;
            nothing is built then.
    """

    validation_logits: Floats
    train_logits: Floats
    build: Callable[[PreTrainedModel], nn.Module] = _nothing
    made: tuple[nn.Module, Tokenizer] | None = None

"""How a task that reads single texts builds its models."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from tokenizers import Tokenizer
from torch import nn
from transformers import PreTrainedModel

from sartor.core.likelihood import Truth
from sartor.tasks._encoder.model import TextClassifier, layers_of


class OneText:
    """To be inherited by the settings of such a task; `layers` is a field of theirs."""

    __slots__ = ()

    unused: ClassVar[tuple[str, ...]] = ()
    """Settings of the loop that mean nothing to the task: no search moves them."""

    layers: tuple[int, ...]
    by_piece: ClassVar[bool] = False
    """Whether it answers about each piece of a text (see `_encoder.by_piece`)."""
    windowed: ClassVar[bool] = False
    """Whether what is longer than a model reads is learnt from in windows (see `tune.windows`)."""

    def resolve(self, depth: int) -> tuple[int, ...]:
        """`layers` counted from 0, for an encoder of `depth` layers.

        Raises:
            SettingError: If the encoder has no such layer.
        """
        return layers_of(self.layers, depth)

    def build(
        self, encoder: PreTrainedModel, outputs: int, tokenizer: Tokenizer | None = None
    ) -> TextClassifier:
        """Put a fresh head on an encoder; the head's weights come from torch's generator.

        Args:
            encoder: Taken over.
            outputs: Number of outputs.
            tokenizer: Of the texts, for a task whose model must know how they are joined.
        """
        model = TextClassifier(encoder, outputs, self.resolve(encoder.config.num_hidden_layers))
        model.by_piece = self.by_piece
        return model

    def open(self, model: nn.Module, truth: Truth, *, fresh: bool) -> None:
        """Whatever the task does to a model before the loop trains it, in place; no weight of the
        encoder is touched.

        Args:
            model: With a head.
            truth: Of the training rows.
            fresh: Whether the head was drawn just now, and knows nothing.
        """

    def close(self, model: nn.Module) -> None:
        """Undo `open` when training has ended: the outputs stay, the head is a plain one again."""

    def reads(self, source: Any) -> Any:
        """Cached activations of single texts to those that a head on them reads."""
        return source

    def on(
        self, encoder: PreTrainedModel, outputs: int, layers: Sequence[int], head: Mapping[str, Any]
    ) -> nn.Module:
        """An encoder with a head of that shape on what `reads` gave, for methods in closed form."""
        model = TextClassifier(encoder, outputs, layers, head)
        model.by_piece = self.by_piece
        return model

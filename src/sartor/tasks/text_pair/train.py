"""The training half of pairs: two ways to read one.

Apart: the encoder reads each text alone, and a head reads both (`comparing`). It needs nothing but
cached activations, and serving may keep one of the two.
Joined: both texts are one sequence and every layer compares them. It costs a pass a pair, and tells
finer differences.

Methods that read activations read the texts apart; all others, joined. A joined model is that of
text classification, which is told where the first text ends.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import PreTrainedModel

from sartor.tasks import TRAINERS
from sartor.tasks._encoder import model as one_text
from sartor.tasks._encoder.files import read_model, write_model
from sartor.tasks._encoder.heads import build_head
from sartor.tasks._encoder.model import TextClassifier, pooled
from sartor.tasks._encoder.segments import separator_of
from sartor.tasks.text_classification.train import TextClassification
from sartor.tasks.text_pair import static
from sartor.tasks.text_pair.comparing import PairSource, Source, compared, parts
from sartor.tasks.text_pair.similarity import KIND as SIMILARITY
from sartor.tasks.text_pair.similarity import Similarity

KIND = "pair"


class PairClassifier(nn.Module):
    """An encoder that reads two texts apart, with a head over what it makes of both.

    Args:
        encoder: As of `TextClassifier`.
        outputs: Number of classes.
        layers: Hidden states to read, in [0, encoder layers].
        symmetric: Whether the order of the two texts must not matter.
        head: Its shape: one of `heads.build_head`, or the similarity's.
    """

    def __init__(
        self,
        encoder: PreTrainedModel,
        outputs: int,
        layers: Sequence[int],
        symmetric: bool,
        head: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        super().__init__()
        self.layers, self.symmetric = tuple(layers), symmetric
        self.encoder = encoder
        one_text.truncate(encoder, max(self.layers))
        self.dropout = nn.Dropout(getattr(encoder.config, "hidden_dropout_prob", 0.1))
        if head.get("kind") == SIMILARITY:
            self.head: Any = Similarity(encoder.config.hidden_size * len(self.layers), outputs)
        else:
            self.head = build_head(self.head_width, outputs, head)

    @property
    def head_width(self) -> int:
        """Columns of `features`."""
        return self.encoder.config.hidden_size * len(self.layers) * parts(self.symmetric)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, other_ids: Tensor, other_mask: Tensor
    ) -> Tensor:
        """Logits (batch, outputs).

        Args:
            input_ids: (batch, tokens) of the first texts, integers.
            attention_mask: (batch, tokens), 1 at real tokens and 0 at padding.
            other_ids: (batch, other tokens) of the second texts.
            other_mask: (batch, other tokens).
        """
        one, other = self._read(input_ids, attention_mask), self._read(other_ids, other_mask)
        if isinstance(self.head, Similarity):
            return self.head(one, other)
        return self.head(self.dropout(self._compared(one, other)))

    def features(
        self, input_ids: Tensor, attention_mask: Tensor, other_ids: Tensor, other_mask: Tensor
    ) -> Tensor:
        """(batch, `head_width`): the head's input, as `PairSource.features` gives it."""
        one, other = self._read(input_ids, attention_mask), self._read(other_ids, other_mask)
        return self._compared(one, other)

    def save(self, folder: Path) -> None:
        """Write model.safetensors, config.json (the encoder's) and classifier.json."""
        shape: dict[str, Any] = {
            "kind": KIND,
            "layers": list(self.layers),
            "outputs": self.head.out_features,
            "symmetric": self.symmetric,
        }
        if head := self.head.shape():
            shape["head"] = head
        write_model(self, folder, shape)
        one_text.write_config(self.encoder, folder)

    def _read(self, ids: Tensor, mask: Tensor) -> Tensor:
        inputs = {"input_ids": ids, "attention_mask": mask}
        return pooled(self.encoder, inputs, self.layers, self.encoder.config.num_hidden_layers)

    def _compared(self, one: Tensor, other: Tensor) -> Tensor:
        each = (-1, len(self.layers), self.encoder.config.hidden_size)
        blocks = compared(one.reshape(each), other.reshape(each), self.symmetric)
        return torch.cat(blocks, dim=-1).flatten(1)


Classifier = PairClassifier | static.StaticPairClassifier | one_text.Classifier


def load(folder: Path) -> Classifier:
    """Rebuild what was saved, whichever way it reads its pairs, in eval mode.

    Raises:
        ModelError: If a file is missing or does not fit the others.
    """

    def make(shape: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Classifier:
        if shape.get("kind") == static.KIND:
            return static.rebuild(shape, tensors)
        if shape.get("kind") != KIND:
            return one_text.rebuild(folder, shape, tensors)
        encoder, head = one_text.read_encoder(folder), shape.get("head", {})
        model = PairClassifier(encoder, shape["outputs"], shape["layers"], shape["symmetric"], head)
        model.load_state_dict(tensors)
        return model

    return read_model(folder, make)


@TRAINERS.add
@dataclass(frozen=True, slots=True)
class TextPair(TextClassification):
    """What the task adds to every method's settings: those of one text, and how two are compared.

    It is a text classification but for what is read, so it takes over that one's fields and loss:
    two lists of the same settings could come to differ.
    """

    symmetric: bool = False
    """Compare two texts so that their order does not matter. For heads on activations: a joined
    sequence has an order."""

    def build(
        self, encoder: PreTrainedModel, outputs: int, tokenizer: Tokenizer | None = None
    ) -> TextClassifier:
        """Put a fresh head on an encoder that reads both texts as one sequence.

        Args:
            encoder: Taken over.
            outputs: Number of classes.
            tokenizer: Says how two texts are joined.
        """
        layers = self.resolve(encoder.config.num_hidden_layers)
        model = TextClassifier(encoder, outputs, layers)
        if tokenizer is not None:
            model.separator = separator_of(tokenizer, encoder.config)
        return model

    def reads(self, source: Source) -> PairSource:
        """Cached activations of single texts to what a head reads of two."""
        return PairSource(source, self.symmetric)

    def on(
        self, encoder: PreTrainedModel, outputs: int, layers: Sequence[int], head: Mapping[str, Any]
    ) -> nn.Module:
        """An encoder that reads both texts apart, with a head of that shape."""
        return PairClassifier(encoder, outputs, layers, self.symmetric, head)

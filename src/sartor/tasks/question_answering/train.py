"""The training half of question answering: a head that says where an answer begins and ends.

L = mean over rows of  −½ (log softmax(s)[first] + log softmax(e)[last]),  over the places of a row

Question and context are one sequence, and every layer compares them. Place 0, "no answer", is read
at the first token; the others at the first token of each piece of the context. Special tokens,
padding, the question and the further tokens of a piece are no places.
Devlin et al. 2019, https://aclanthology.org/N19-1423
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from annotated_types import Ge, Len
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import PreTrainedModel

from sartor.tasks import TRAINERS
from sartor.tasks._encoder import model as one_text
from sartor.tasks._encoder.files import read_model
from sartor.tasks._encoder.model import TextClassifier
from sartor.tasks._encoder.one_text import OneText
from sartor.tasks._encoder.segments import separator_of
from sartor.tasks.question_answering import overlap

_NEVER = -1e4
"""Logit of a place that is none: half precision holds it."""


def load(folder: Path) -> overlap.Overlap | one_text.Classifier:
    """Rebuild what was saved, in eval mode.

    Raises:
        ModelError: If a file is missing or does not fit the others.
    """

    def make(
        shape: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> overlap.Overlap | one_text.Classifier:
        if shape.get("kind") == overlap.KIND:
            return overlap.rebuild(shape, tensors)
        return one_text.rebuild(folder, shape, tensors)

    return read_model(folder, make)


@TRAINERS.add
@dataclass(frozen=True, slots=True)
class QuestionAnswering(OneText):
    """What the task adds to every method's settings."""

    by_piece: ClassVar[bool] = True
    windowed: ClassVar[bool] = True

    layers: Annotated[tuple[int, ...], Len(1)] = (-1,)
    """Hidden states the head reads, concatenated; negative counts from the top, 0 is the
    embedding layer. Layers above the highest one read are not run."""
    no_answer_weight: Annotated[float, Ge(0)] = 1.0
    """Weight in the loss of rows, and of windows of long contexts, that hold no answer: below 1
    answers more readily."""

    def build(
        self, encoder: PreTrainedModel, outputs: int, tokenizer: Tokenizer | None = None
    ) -> TextClassifier:
        """Put a fresh head on an encoder that reads question and context as one sequence.

        Args:
            encoder: Taken over.
            outputs: Two.
            tokenizer: Says how two texts are joined.
        """
        layers = self.resolve(encoder.config.num_hidden_layers)
        model = TextClassifier(encoder, outputs, layers)
        model.by_piece = True
        if tokenizer is not None:
            model.separator = separator_of(tokenizer, encoder.config)
        return model

    def weights(self, truth: NDArray[np.int64], outputs: int) -> NDArray[np.float32]:
        """(2,) weight in the loss of rows that have an answer, and of those that have none."""
        return np.array([1.0, self.no_answer_weight], np.float32)

    def loss(self, logits: Tensor, truth: Tensor, weights: Tensor, smoothing: float) -> Tensor:
        """Cross-entropy over the places of a row, averaged over rows by weight.

        Args:
            logits: (batch, tokens, 2), as `at_pieces` leaves them: 0 where there is no place.
            truth: (batch, 2, most right answers), places; the first answer is learnt. A row whose
                answer is not read, since its text is cut, has no part.
            weights: (2,).
            smoothing: Share of the target spread over all places.
        """
        first, width = truth[:, :, 0], logits.shape[1]
        read = (logits.detach() != 0).any(2)
        shares = logits.float().masked_fill(~read.unsqueeze(2), _NEVER).log_softmax(1)
        place = first.clamp(0, width - 1)
        there = (first < width) & (first >= 0) & read.gather(1, place)
        chosen = shares.gather(1, place.unsqueeze(1)).squeeze(1)
        spread = (shares * read.unsqueeze(2)).sum(1) / read.sum(1, keepdim=True).clamp(min=1)
        each = -((1 - smoothing) * chosen + smoothing * spread).mean(1)
        weight = torch.where(first[:, 0] > 0, weights[0], weights[1]) * there.all(1)
        return (each * weight).sum() / weight.sum().clamp(min=1e-6)

    def on(
        self, encoder: PreTrainedModel, outputs: int, layers: Sequence[int], head: Mapping[str, Any]
    ) -> nn.Module:
        """See `OneText.on`: no method in closed form puts a head on an encoder here."""
        return self.build(encoder, outputs)

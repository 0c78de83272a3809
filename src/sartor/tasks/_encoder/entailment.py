"""A text classifier that asks of every label whether the text entails a sentence about it.

logits_k = z(text, hypothesis_k)[entailment] − z(text, hypothesis_k)[contradiction]
Yin et al. 2019, https://arxiv.org/abs/1909.00161

z is a model that was trained on pairs of sentences. The hypotheses are in the graph as token ids,
and each follows its text without a gap, as a tokenizer would have joined the two: so positions,
segments and mask are the pair's own, whatever the architecture makes of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING, PreTrainedModel

from sartor.tasks._encoder.files import from_plain, plain_config, write_model

KIND = "entailment"


@dataclass(frozen=True, slots=True)
class Hypotheses:
    """What follows a text, one row a label.

    Args:
        ids: (labels, longest) separators and sentence, then padding.
        types: (labels, longest) segment of each token.
        lengths: (labels,) tokens before the padding.
        pad: Id of the padding token.
    """

    ids: Tensor
    types: Tensor
    lengths: Tensor
    pad: int


@dataclass(frozen=True, slots=True)
class Answers:
    """Which of the pair classifier's outputs say yes, and which no; None where none does."""

    yes: int
    no: int | None


class EntailmentClassifier(nn.Module):
    """Token ids and mask to logits, as an encoder's classifier takes and gives them.

    Args:
        pairs: A sequence classifier over pairs.
        hypotheses: One a label.
        answers: See `Answers`.
    """

    ids: Tensor
    types: Tensor
    lengths: Tensor

    def __init__(self, pairs: PreTrainedModel, hypotheses: Hypotheses, answers: Answers) -> None:
        super().__init__()
        self.pairs, self.answers, self.pad = pairs, answers, hypotheses.pad
        self.register_buffer("ids", hypotheses.ids)
        self.register_buffer("types", hypotheses.types)
        self.register_buffer("lengths", hypotheses.lengths)
        # One segment or none: the architecture takes no segments, or takes them as all alike.
        self._typed = getattr(pairs.config, "type_vocab_size", 0) > 1

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits (batch, labels).

        Args:
            input_ids: (batch, tokens), integers; padding on the right.
            attention_mask: (batch, tokens), 1 at real tokens and 0 at padding.
        """
        labels, longest = self.ids.shape
        rows, width = input_ids.shape
        count = attention_mask.sum(1, keepdim=True)  # (rows, 1)
        place = torch.arange(width + longest, device=input_ids.device).unsqueeze(0)
        behind = (place - count).clamp(0, longest - 1)  # (rows, width + longest)
        of_text = (place < count).unsqueeze(0)
        text = nn.functional.pad(input_ids, (0, longest), value=self.pad).unsqueeze(0)
        within = place.unsqueeze(0) < count.unsqueeze(0) + self.lengths.view(-1, 1, 1)
        ids = torch.where(of_text, text, self.ids[:, behind])
        inputs = {
            "input_ids": torch.where(within, ids, self.pad).flatten(0, 1),
            "attention_mask": within.to(attention_mask.dtype).flatten(0, 1),
        }
        if self._typed:
            types = torch.where(of_text | ~within, 0, self.types[:, behind])
            inputs["token_type_ids"] = types.flatten(0, 1)
        found = self.pairs(**inputs).logits.view(labels, rows, -1)
        yes = found[:, :, self.answers.yes]
        no = 0.0 if self.answers.no is None else found[:, :, self.answers.no]
        return (yes - no).T

    def save(self, folder: Path) -> None:
        """Write model.safetensors and classifier.json."""
        shape = {
            "kind": KIND,
            "config": plain_config(self.pairs.config),
            "yes": self.answers.yes,
            "no": self.answers.no,
            "pad": self.pad,
        }
        write_model(self, folder, shape)


def rebuild(shape: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> EntailmentClassifier:
    """What `save` wrote, from its shape and its tensors.

    Raises:
        KeyError, ValueError, RuntimeError: If they do not fit each other.
    """
    pairs = from_plain(shape["config"], MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING)
    hypotheses = Hypotheses(tensors["ids"], tensors["types"], tensors["lengths"], shape["pad"])
    model = EntailmentClassifier(pairs, hypotheses, Answers(shape["yes"], shape["no"]))
    model.load_state_dict(dict(tensors))
    return model

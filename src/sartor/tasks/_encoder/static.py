"""A text classifier without a network: every token has its say, and the mean of them is the answer.

logits = (Σ_t c[id_t] · scores[id_t]) / (Σ_t c[id_t]) + b,   c 1 where a token counts, else 0

Static embeddings and a linear head over their mean are linear together, so what is shipped is their
product: a table of (vocabulary, outputs) numbers, whatever the width of the embeddings was.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sartor.tasks._encoder.files import write_model

KIND = "static"


class StaticClassifier(nn.Module):
    """Token ids and mask to logits, as an encoder's classifier takes and gives them.

    Args:
        vocabulary: Number of tokens.
        outputs: Number of classes.
    """

    counted: Tensor

    def __init__(self, vocabulary: int, outputs: int) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.zeros(vocabulary, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("counted", torch.zeros(vocabulary))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits (batch, outputs).

        Args:
            input_ids: (batch, tokens), integers.
            attention_mask: (batch, tokens), 1 at real tokens and 0 at padding.
        """
        share = self.counted[input_ids] * attention_mask.to(torch.float32)
        total = share.sum(1, keepdim=True).clamp(min=1.0)
        return (self.scores[input_ids] * share.unsqueeze(-1)).sum(1) / total + self.bias

    def save(self, folder: Path) -> None:
        """Write model.safetensors and classifier.json."""
        vocabulary, outputs = self.scores.shape
        write_model(self, folder, {"kind": KIND, "vocabulary": vocabulary, "outputs": outputs})


def rebuild(shape: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> StaticClassifier:
    """What `save` wrote, from its shape and its tensors.

    Raises:
        KeyError, RuntimeError: If they do not fit each other.
    """
    found = tensors["scores"].shape
    if tuple(found) != (shape["vocabulary"], shape["outputs"]):
        raise RuntimeError(f"scores are {tuple(found)}, which classifier.json does not say")
    model = StaticClassifier(*found)
    model.load_state_dict(dict(tensors))
    return model

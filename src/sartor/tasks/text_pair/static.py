"""Pairs without a network: each text is the mean of its tokens' vectors, and a head compares two.

u = (Σ_t c[id_t] · table[id_t]) / (Σ_t c[id_t]),   c 1 where a token counts, else 0
logits = W · [u, v, |u − v|, u · v] + b

Products and differences are not linear in the tokens, so the vectors themselves are shipped, and
not their scores as for one text.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sartor.tasks._encoder.files import write_model
from sartor.tasks.text_pair.comparing import compared, parts

KIND = "static_pair"


class StaticPairClassifier(nn.Module):
    """Token ids and masks of two texts to logits.

    Args:
        vocabulary: Number of tokens.
        width: Of a token's vector.
        outputs: Number of classes.
        symmetric: Whether the order of the two texts must not matter.
    """

    counted: Tensor

    def __init__(self, vocabulary: int, width: int, outputs: int, symmetric: bool) -> None:
        super().__init__()
        self.symmetric = symmetric
        self.table = nn.Parameter(torch.zeros(vocabulary, width))
        self.head = nn.Linear(parts(symmetric) * width, outputs)
        self.register_buffer("counted", torch.zeros(vocabulary))

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
        one, other = self._mean(input_ids, attention_mask), self._mean(other_ids, other_mask)
        return self.head(torch.cat(compared(one, other, self.symmetric), dim=-1))

    def _mean(self, ids: Tensor, mask: Tensor) -> Tensor:
        share = self.counted[ids] * mask.to(torch.float32)
        total = share.sum(1, keepdim=True).clamp(min=1.0)
        return (self.table[ids] * share.unsqueeze(-1)).sum(1) / total

    def save(self, folder: Path) -> None:
        """Write model.safetensors and classifier.json."""
        vocabulary, width = self.table.shape
        shape = {
            "kind": KIND,
            "vocabulary": vocabulary,
            "width": width,
            "outputs": self.head.out_features,
            "symmetric": self.symmetric,
        }
        write_model(self, folder, shape)


def rebuild(shape: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> StaticPairClassifier:
    """What `save` wrote, from its shape and its tensors.

    Raises:
        KeyError, RuntimeError: If they do not fit each other.
    """
    found = tensors["table"].shape
    if tuple(found) != (shape["vocabulary"], shape["width"]):
        raise RuntimeError(f"the table is {tuple(found)}, which classifier.json does not say")
    vocabulary, width = found
    model = StaticPairClassifier(vocabulary, width, shape["outputs"], shape["symmetric"])
    model.load_state_dict(dict(tensors))
    return model

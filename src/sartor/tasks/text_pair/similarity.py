"""A head that knows how alike two texts are, and nothing else.

logits_k = a_k · cos(u − c, v − c) + b_k,   c the mean of texts of this kind
"""

from typing import Any

import torch
from torch import Tensor, nn

KIND = "similarity"


class Similarity(nn.Module):
    """The cosine of two texts to logits.

    Args:
        features: Width of what is read of one text.
        outputs: Number of classes.
    """

    centre: Tensor
    slope: Tensor
    offset: Tensor

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(features))
        self.register_buffer("slope", torch.zeros(outputs))
        self.register_buffer("offset", torch.zeros(outputs))
        self.out_features = outputs

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """Logits (batch, outputs) of two (batch, features)."""
        alike = (_unit(one - self.centre) * _unit(other - self.centre)).sum(-1, keepdim=True)
        return alike * self.slope + self.offset

    def shape(self) -> dict[str, Any]:
        """As classifier.json says it."""
        return {"kind": KIND}


def _unit(rows: Tensor) -> Tensor:
    return rows / rows.pow(2).sum(-1, keepdim=True).clamp(min=1e-12).sqrt()

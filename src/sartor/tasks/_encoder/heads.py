"""What may lie between pooled activations and logits; each says its own shape in JSON."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class Linear(nn.Linear):
    """logits = W x + b."""

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__(features, outputs)

    def shape(self) -> dict[str, Any]:
        return {}


class Hidden(nn.Module):
    """logits = W₂ · gelu(W₁ x + b₁) + b₂, with one hidden layer."""

    def __init__(self, features: int, outputs: int, hidden: int) -> None:
        super().__init__()
        self.inner = nn.Linear(features, hidden)
        self.outer = nn.Linear(hidden, outputs)
        self.out_features = outputs

    def forward(self, features: Tensor) -> Tensor:
        return self.outer(nn.functional.gelu(self.inner(features)))

    def shape(self) -> dict[str, Any]:
        return {"kind": "hidden", "hidden": self.inner.out_features}


class Cosine(nn.Module):
    """logits = scale · cos(x − centre, direction of each class)."""

    centre: Tensor
    scale: Tensor

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(features))
        self.register_buffer("scale", torch.ones(()))
        self.directions = nn.Parameter(torch.zeros(outputs, features))
        self.out_features = outputs

    def forward(self, features: Tensor) -> Tensor:
        moved = features - self.centre
        length = moved.pow(2).sum(-1, keepdim=True).clamp(min=1e-12).sqrt()
        return self.scale * ((moved / length) @ self.directions.T)

    def shape(self) -> dict[str, Any]:
        return {"kind": "cosine"}


_KINDS = {"linear": Linear, "hidden": Hidden, "cosine": Cosine}


def build_head(features: int, outputs: int, shape: Mapping[str, Any]) -> nn.Module:
    """The head whose `shape()` that is, with fresh weights; linear where nothing is said.

    Raises:
        ValueError: If the shape is of no head.
    """
    settings = dict(shape)
    kind = settings.pop("kind", "linear")
    if kind not in _KINDS:
        raise ValueError(f"no head is called {kind!r}")
    return _KINDS[kind](features, outputs, **settings)

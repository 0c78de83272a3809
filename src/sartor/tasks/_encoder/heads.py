"""What may lie between pooled activations and logits; each says its own shape in JSON."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sartor.tasks.retrieval.index import SCALE


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


class Scaled(nn.Module):
    """y = mean + deviation · head(x): a head that trains in the target's own unit.

    The inner head starts so that the outputs are those of the head it was made of.

    Args:
        head: Linear; left as it is.
        mean: Of the targets.
        deviation: Of the targets, above 0.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, head: Linear, mean: float, deviation: float) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("deviation", torch.tensor(deviation, dtype=torch.float32))
        self.inner = Linear(head.in_features, head.out_features)
        self.out_features = head.out_features
        with torch.no_grad():
            self.inner.weight.copy_(head.weight / deviation)
            self.inner.bias.copy_((head.bias - mean) / deviation)

    def forward(self, features: Tensor) -> Tensor:
        return self.mean + self.deviation * self.inner(features)

    def folded(self) -> Linear:
        """The plain layer with the same outputs."""
        plain = Linear(self.inner.in_features, self.out_features)
        with torch.no_grad():
            plain.weight.copy_(self.inner.weight * self.deviation)
            plain.bias.copy_(self.inner.bias * self.deviation + self.mean)
        return plain


class Index(nn.Module):
    """logits = 20 · cos(P (x − centre), vector of each document).

    Documents' vectors are made by the same encoder and the same P, so they are no weights: they
    are set whenever the encoder has changed.

    Args:
        features: Of what is read.
        outputs: Number of documents.
        width: Of a vector; 0 where there is no P, and a vector is as wide as what is read.
    """

    centre: Tensor
    project: Tensor
    vectors: Tensor

    def __init__(self, features: int, outputs: int, width: int = 0) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(features))
        if width:
            self.register_buffer("project", torch.zeros(features, width))
        self.register_buffer("vectors", torch.zeros(outputs, width or features))
        # Of the loss alone: how sharply documents are told apart while that is learnt.
        self.log_scale = nn.Parameter(torch.tensor(math.log(SCALE)))
        self.width, self.out_features = width, outputs

    def embed(self, features: Tensor) -> Tensor:
        """(batch, width) of length 1, from (batch, features)."""
        moved = features - self.centre
        if self.width:
            moved = moved @ self.project
        return moved / moved.pow(2).sum(-1, keepdim=True).clamp(min=1e-12).sqrt()

    def forward(self, features: Tensor) -> Tensor:
        return SCALE * (self.embed(features) @ self.vectors.T)

    def shape(self) -> dict[str, Any]:
        return {"kind": "index", "width": self.width}


_KINDS = {"linear": Linear, "hidden": Hidden, "cosine": Cosine, "index": Index}


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

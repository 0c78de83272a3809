"""Contrastive tuning for few labels: texts of one class are pulled together, others pushed apart.

L = mean_i −1/|P(i)| Σ_{p∈P(i)} log( exp(z_i·z_p/τ) / Σ_{a≠i} exp(z_i·z_a/τ) )

z is the head's input, scaled to length 1; P(i) are the other rows of i's class in the batch. A
batch of n rows gives its n² pairs by one product, so no list of pairs is ever built: that list is
what makes SetFit's cost grow with the square of the rows. When the encoder is tuned, the head is
the logistic regression of the labels on its features.

Khosla et al. 2020, https://arxiv.org/abs/2004.11362; for few labels, with a head fitted afterwards,
Tunstall et al. 2022, https://arxiv.org/abs/2209.11055
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Gt, Le
from torch import Tensor, nn

from sartor.tune.api import METHODS, Dimension, Reads, Real, Whole, is_head, open_tensors


@METHODS.add
@dataclass(frozen=True, slots=True)
class Contrastive:
    """Trains the encoder towards classes that lie apart, then solves the head."""

    reads: ClassVar[Reads] = "tokens"
    rung: ClassVar[int | None] = 18
    one_label: ClassVar[Literal[True]] = True
    few_rows: ClassVar[Literal[True]] = True
    solves_head: ClassVar[Literal[True]] = True

    temperature: Annotated[float, Gt(0), Le(1)] = 0.1
    """τ: smaller looks harder at the nearest rows of other classes."""
    lr: Annotated[float, Gt(0), Le(1)] = 1e-4
    """Peak learning rate of the encoder."""
    C: Annotated[float, Gt(0)] = 1.0
    """Inverse strength of the head's L2 penalty, on standardised features."""

    def attach(self, model: nn.Module) -> None:
        open_tensors(model, lambda name: not is_head(name))

    def fold(self, model: nn.Module) -> None:
        model.requires_grad_(True)

    def rate(self, name: str, depth: int) -> float:
        return self.lr

    def loss(self, model: Any, inputs: tuple[Tensor, ...], labels: Tensor) -> Tensor:
        return supervised_contrast(model.features(*inputs), labels, self.temperature)

    @staticmethod
    def portfolio() -> Sequence[Mapping[str, Any]]:
        return [
            {"lr": 2e-4, "epochs": 100, "max_steps": 16, "batch_rows": 32, "batch_tokens": 8192},
        ]

    @staticmethod
    def space() -> Mapping[str, Dimension]:
        return {
            "lr": Real(1e-5, 5e-4, log=True),
            "temperature": Real(0.03, 0.5, log=True),
            "max_steps": Whole(8, 100, log=True),
        }


def supervised_contrast(features: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Mean over the rows that share their class with another row of the batch; 0 if none does.

    Args:
        features: (batch, width), any length.
        labels: (batch,).
        temperature: Divides the cosines.
    """
    scaled = nn.functional.normalize(features.float(), dim=1)
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    logits = (scaled @ scaled.T / temperature).masked_fill(itself, -torch.inf)
    chance = logits.log_softmax(1).masked_fill(itself, 0.0)
    same = (labels[:, None] == labels[None, :]) & ~itself
    partners = same.sum(1)
    found = (chance * same).sum(1) / partners.clamp(min=1)
    return -found.sum() / (partners > 0).sum().clamp(min=1)

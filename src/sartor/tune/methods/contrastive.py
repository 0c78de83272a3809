"""Contrastive tuning for few labels: texts of one class are pulled together, others pushed apart.

L = (1 − λ)·CE + λ·SupCon,
SupCon = mean_i −1/|P(i)| Σ_{p∈P(i)} log( exp(z_i·z_p/τ) / Σ_{a≠i} exp(z_i·z_a/τ) )

z is the head's input, scaled to length 1; P(i) are the other rows of i's class in the batch. A
batch of n rows gives its n² pairs by one product, so no list of pairs is ever built: that list is
what makes SetFit's cost grow with the square of the rows.

Khosla et al. 2020, https://arxiv.org/abs/2004.11362; with cross-entropy, Gunel et al. 2021,
https://arxiv.org/abs/2011.01403; for few labels, Tunstall et al. 2022,
https://arxiv.org/abs/2209.11055
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn

from sartor.tune.api import METHODS, Dimension, Reads, Real, Whole, is_head, open_tensors


@METHODS.add
@dataclass(frozen=True, slots=True)
class Contrastive:
    """Trains all weights towards classes that lie apart; meant for some dozens of labels."""

    reads: ClassVar[Reads] = "tokens"
    rung: ClassVar[int | None] = None
    one_label: ClassVar[Literal[True]] = True

    contrast: Annotated[float, Ge(0), Le(1)] = 0.9
    """λ: share of the contrastive loss; the rest is cross-entropy, which trains the head."""
    temperature: Annotated[float, Gt(0), Le(1)] = 0.1
    """τ: smaller looks harder at the nearest rows of other classes."""
    lr: Annotated[float, Gt(0), Le(1)] = 1e-4
    """Peak learning rate of the encoder."""
    head_lr: Annotated[float, Gt(0), Le(1)] = 1e-2
    """Peak learning rate of the head, which starts without pretraining."""

    def attach(self, model: nn.Module) -> None:
        open_tensors(model, lambda name: True)

    def fold(self, model: nn.Module) -> None:
        """Nothing was added."""

    def rate(self, name: str, depth: int) -> float:
        return self.head_lr if is_head(name) else self.lr

    def loss(self, model: Any, inputs: tuple[Tensor, ...], labels: Tensor) -> Tensor:
        found = model.features(*inputs)
        entropy = nn.functional.cross_entropy(model.head(model.dropout(found)).float(), labels)
        apart = supervised_contrast(found, labels, self.temperature)
        return (1 - self.contrast) * entropy + self.contrast * apart

    @staticmethod
    def portfolio() -> Sequence[Mapping[str, Any]]:
        return [
            {"lr": 1e-4, "epochs": 10, "batch_rows": 64, "batch_tokens": 4096, "evaluations": 1},
            {"lr": 5e-5, "epochs": 20, "batch_rows": 64, "batch_tokens": 4096, "evaluations": 1},
        ]

    @staticmethod
    def space() -> Mapping[str, Dimension]:
        return {
            "lr": Real(1e-5, 5e-4, log=True),
            "contrast": Real(0.1, 0.99),
            "temperature": Real(0.03, 0.5, log=True),
            "epochs": Whole(2, 30, log=True),
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

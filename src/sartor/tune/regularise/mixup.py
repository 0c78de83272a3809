"""Mixup where token models can mix: rows are blended at the head's input, with their labels.

h = λ·h_i + (1 − λ)·h_j,  L = λ·CE(z, y_i) + (1 − λ)·CE(z, y_j),  λ ~ Beta(α, α), one a batch

Zhang et al. 2018, https://arxiv.org/abs/1710.09412; of hidden states: Verma et al. 2019,
https://arxiv.org/abs/1806.05236; of sentences: Guo et al. 2019, https://arxiv.org/abs/1905.08941
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Beta

from sartor.core.errors import SettingError
from sartor.tune.recipe import Loss


@dataclass(frozen=True, slots=True)
class Mixup:
    """An `Objective`; λ and the partners come from torch's generator, which checkpoints hold.

    Args:
        base: Of the task.
        alpha: Of the Beta distribution; small values blend little.
    """

    base: Loss
    alpha: float

    def loss(self, model: nn.Module, inputs: tuple[Tensor, ...], labels: Tensor) -> Tensor:
        """Raises:
        SettingError: If the labels are of pieces.
        """
        if not labels.is_floating_point() and labels.ndim == 2:
            raise SettingError(
                f"mixup={self.alpha} blends texts, and the pieces of two texts do not stand beside"
                " one another.",
                fix="leave mixup out.",
            )
        share = float(Beta(self.alpha, self.alpha).sample())
        partner = torch.randperm(len(labels)).to(labels.device)

        def blend(_: nn.Module, taken: tuple[Any, ...]) -> tuple[Any, ...]:
            rows, *rest = taken
            return (share * rows + (1 - share) * rows[partner], *rest)

        with model.get_submodule("head").register_forward_pre_hook(blend):
            logits = model(*inputs)
        return share * self.base(logits, labels) + (1 - share) * self.base(logits, labels[partner])

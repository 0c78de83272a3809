"""L2-SP: pull the pretrained weights towards where they started, against forgetting.

Ω = β/2 · Σ ‖w − w₀‖²  over the tensors that came pretrained; the head and what a method added have
no w₀ worth keeping.

Li et al. 2018, https://arxiv.org/abs/1802.01483
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sartor.core.errors import SettingError


class StartingPoint:
    """Has the power of `Penalises`; keeps one more copy of the tensors.

    Args:
        pretrained: The trainable tensors that came with the backbone, not yet trained.
        strength: β.

    Raises:
        SettingError: If there is none.
    """

    def __init__(self, pretrained: Sequence[nn.Parameter], strength: float) -> None:
        if not pretrained:
            raise SettingError(
                f"l2_sp={strength} holds pretrained weights, and the method trains none of them.",
                fix="leave l2_sp out, or choose a method that trains them, such as full.",
            )
        self._tensors = pretrained
        self._start = [tensor.detach().clone() for tensor in self._tensors]
        self._strength = strength

    def penalty(self, model: nn.Module) -> Tensor:
        """Scalar; a tensor that a schedule has frozen adds nothing."""
        pairs = zip(self._tensors, self._start, strict=True)
        away = [(tensor - start).square().sum() for tensor, start in pairs if tensor.requires_grad]
        return self._strength / 2 * torch.stack(away).sum() if away else torch.zeros(())

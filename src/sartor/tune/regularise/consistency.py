"""R-Drop: two forward passes, two dropout masks, one answer.

L = ½·(CE(z₁, y) + CE(z₂, y)) + α·½·(KL(p₁‖p₂) + KL(p₂‖p₁)),  p = softmax(z)

Where a row has several labels, KL is that of each label's yes and no, averaged over labels.

Liang et al. 2021, https://arxiv.org/abs/2106.14448
"""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.functional import kl_div

from sartor.core.errors import SettingError
from sartor.tune.dropout import has_dropout
from sartor.tune.recipe import Loss


@dataclass(frozen=True, slots=True)
class RDrop:
    """An `Objective`; costs a second forward and backward pass.

    Args:
        base: Of the task.
        strength: α.
    """

    base: Loss
    strength: float

    def loss(self, model: nn.Module, inputs: tuple[Tensor, ...], labels: Tensor) -> Tensor:
        """Raises:
        SettingError: If the model has no dropout: the passes would be the same; or of numbers.
        """
        if not has_dropout(model):
            raise SettingError(
                f"r_drop={self.strength} compares two dropout masks, and the model drops nothing.",
                fix="set dropout to 0.1, or leave r_drop out.",
            )
        if labels.ndim == 1 and labels.is_floating_point():
            raise SettingError(
                f"r_drop={self.strength} compares probabilities, and a number has none.",
                fix="leave r_drop out.",
            )
        one, two = model(*inputs), model(*inputs)
        task = (self.base(one, labels) + self.base(two, labels)) / 2
        if one.ndim == 3:
            # By piece: where none is read both passes are 0, and nothing is compared.
            read = (one.detach() != 0).any(-1)
            one, two = one[read], two[read]
        marks = labels.is_floating_point()
        return task + self.strength * divergence(one, two, several=marks)


def divergence(one: Tensor, two: Tensor, *, several: bool = False) -> Tensor:
    """Symmetric Kullback–Leibler divergence in nats, the mean of both directions and of the rows.

    Args:
        one: (batch, outputs) logits.
        two: The same shape.
        several: Whether each output is a yes or no of its own.
    """
    if several:
        # (z₁ − z₂)(p₁ − p₂) is KL(p₁‖p₂) + KL(p₂‖p₁) of two coins.
        left, right = one.float(), two.float()
        return ((left - right) * (left.sigmoid() - right.sigmoid())).mean() / 2
    left, right = one.float().log_softmax(-1), two.float().log_softmax(-1)
    forth = kl_div(right, left, reduction="batchmean", log_target=True)
    back = kl_div(left, right, reduction="batchmean", log_target=True)
    return (forth + back) / 2

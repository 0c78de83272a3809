"""AdamW over the tensors that a method opened.

Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sartor.core.errors import Diverged
from sartor.tune.checkpoint import flatten_optimizer, restore_optimizer
from sartor.tune.settings import Loop


@dataclass(frozen=True, slots=True)
class Descent:
    """The optimizer, with its tensors' names.

    A tensor without a gradient is left alone, moments and decay included, so a schedule may freeze
    and thaw tensors as the steps go by.

    Args:
        optimizer: Over all opened tensors, frozen ones included.
        names: Position of a tensor in the optimizer to its dotted name.
        peaks: Peak learning rate of each of the optimizer's groups.
    """

    optimizer: torch.optim.AdamW
    names: Mapping[int, str]
    peaks: list[float]

    @staticmethod
    def of(
        trainable: Mapping[str, nn.Parameter], rate: Callable[[str], float], loop: Loop
    ) -> "Descent":
        """Group the tensors by rate and decay."""
        groups: dict[tuple[float, float], list[str]] = {}
        for name, tensor in trainable.items():
            # Decay pulls matrices towards zero; on biases and normalisation it only costs accuracy.
            decay = loop.weight_decay if tensor.ndim > 1 else 0.0
            groups.setdefault((rate(name), decay), []).append(name)
        optimizer = torch.optim.AdamW(
            [
                {"params": [trainable[n] for n in names], "lr": rate, "weight_decay": decay}
                for (rate, decay), names in groups.items()
            ],
            fused=True,
        )
        order = [name for names in groups.values() for name in names]
        return Descent(optimizer, dict(enumerate(order)), [rate for rate, _ in groups])

    def set_rate(self, share: float) -> None:
        """Give every group its share of its peak."""
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * share

    def check(self, loss: float, norm: float, where: str) -> None:
        """Refuse to step on what is not a number.

        Raises:
            Diverged: If the loss or the gradient's norm is not finite.
        """
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise Diverged(
                f"{where}: loss {loss}, gradient norm {norm}.",
                fix=f"lower the learning rate (lr={max(self.peaks)} now), or raise warmup.",
            )

    def state(self) -> dict[str, Tensor]:
        """The moments as `name/slot`."""
        return flatten_optimizer(self.optimizer, self.names)

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of `state`."""
        restore_optimizer(self.optimizer, state, self.names)


def clip(tensors: Iterable[nn.Parameter], most: float) -> float:
    """Scale the gradients down so that their joint norm is at most `most`; what it was."""
    ready = [t for t in tensors if t.grad is not None]
    norm = nn.utils.get_total_norm([t.grad for t in ready if t.grad is not None])
    # Multiplying all of them by 1 is a pass over memory.
    if norm > most:
        nn.utils.clip_grads_with_norm_(ready, most, norm)
    return float(norm)

"""Learning from another model's answers, beside the labels or in their place.

L = (1 − a) · CE(z, y) + a · T² · KL(softmax(t / T) ‖ softmax(z / T)) + c · |h − k|² / var(k),
a = 1 for rows without label, h what the head reads, k the same of the teacher; where a row has
several labels, CE is the task's and KL that of each label's yes and no, averaged over labels

Hinton et al. 2015, https://arxiv.org/abs/1503.02531. T² keeps the gradient's size as T changes.
The last term, where the teacher tells it: Sun et al. 2019, https://arxiv.org/abs/1908.09355.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt, Le
from pydantic import ConfigDict, with_config
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from sartor.core.likelihood import Truth
from sartor.core.protocols import Floats
from sartor.tune.recipe import Loss

UNKNOWN = -1
"""Class index of a row without a label."""


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True, slots=True)
class Distillation:
    """How a teacher's answers and the labels share the loss."""

    temperature: Annotated[float, Gt(0), Le(100)] = 2.0
    """Both models' logits are divided by this: more shows how the teacher ranks wrong classes."""
    teacher_share: Annotated[float, Ge(0), Le(1)] = 0.5
    """Share of the teacher in the loss of a row that has a label; of one without it has all."""
    hidden: Annotated[float, Ge(0)] = 1.0
    """c: pull of what the head reads towards what the teacher's head read, where that is told."""


class Shown(nn.Module):
    """A classifier that, while it trains, answers (batch, outputs + features) and not logits alone.

    Args:
        model: Has `features` and `head`, and `dropout` between the two.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model

    def forward(self, *inputs: Tensor) -> Tensor:
        if not self.training:
            return self.model(*inputs)
        features = self.model.features(*inputs)
        return torch.cat([self.model.head(self.model.dropout(features)), features], dim=1)


class Taught:
    """A `Loss` that is asked with row numbers: labels and the teacher's answers are looked up.

    Args:
        labels: The rows' truth (see `core.likelihood`), `UNKNOWN` throughout where there is none.
        teacher: (rows, outputs) logits, or (rows, outputs + features).
        outputs: How many columns are logits.
        settings: See `Distillation`.
        base: The loss of rows with labels.
    """

    def __init__(
        self,
        labels: Truth,
        teacher: Floats,
        outputs: int,
        settings: Distillation,
        base: Loss,
    ) -> None:
        self._labels, self._teacher = torch.from_numpy(labels), torch.from_numpy(teacher)
        self._outputs, self._settings, self._base = outputs, settings, base
        spread = teacher[:, outputs:].var(0)
        self._unit = max(float(spread.mean()), 1e-12) if len(spread) else 1.0

    def __call__(self, logits: Tensor, rows: Tensor) -> Tensor:
        """Scalar, averaged over rows.

        Args:
            logits: (batch, outputs), or as many columns as the teacher has.
            rows: (batch,) row numbers, in [0, rows).
        """
        device, chosen = logits.device, rows.cpu()
        labels, told = self._labels[chosen].to(device), self._teacher[chosen].to(device)
        (logits, mine), (teacher, theirs) = (self._split(x.float()) for x in (logits, told))
        several = labels.is_floating_point()
        known = (labels[:, 0] if labels.ndim == 2 else labels) != UNKNOWN
        share = torch.where(known, self._settings.teacher_share, 1.0)
        apart = divergence(logits, teacher, self._settings.temperature, several=several)
        loss = (share * apart).mean()
        if self._settings.teacher_share < 1 and bool(known.any()):
            own = self._base(logits[known], labels[known])
            loss = loss + (1 - self._settings.teacher_share) * known.float().mean() * own
        if theirs.shape[1]:
            loss = loss + self._settings.hidden * (mine - theirs).pow(2).mean() / self._unit
        return loss

    def _split(self, told: Tensor) -> tuple[Tensor, Tensor]:
        return told[:, : self._outputs], told[:, self._outputs :]


def divergence(
    logits: Tensor, teacher: Tensor, temperature: float, *, several: bool = False
) -> Tensor:
    """(rows,) T² · KL(softmax(teacher / T) ‖ softmax(logits / T)), in nats.

    Args:
        logits: (rows, outputs).
        teacher: (rows, outputs); no gradient flows into it.
        temperature: T, above 0.
        several: Whether each output is a yes or no of its own: then KL is that of the sigmoids,
            averaged over outputs.
    """
    if several:
        teacher, logits = teacher.detach().float() / temperature, logits.float() / temperature
        yes = teacher.sigmoid()
        apart = yes * (logsigmoid(teacher) - logsigmoid(logits))
        apart = apart + (1 - yes) * (logsigmoid(-teacher) - logsigmoid(-logits))
        return temperature**2 * apart.mean(-1)
    wanted = (teacher.detach().float() / temperature).log_softmax(-1)
    found = (logits.float() / temperature).log_softmax(-1)
    return temperature**2 * (wanted.exp() * (wanted - found)).sum(-1)

"""The training half of several labels a text: settings of the head, weights of labels, the loss.

L = mean over rows and labels of  −[w_k · y_k · log p_k + (1 − y_k) · log(1 − p_k)],  p = σ(z)
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Le, Len
from numpy.typing import NDArray
from torch import Tensor, nn

from sartor.tasks import TRAINERS
from sartor.tasks._encoder.model import load
from sartor.tasks._encoder.one_text import OneText

__all__ = ["MultiLabel", "load"]

_MOST_WEIGHT = 100.0
"""A label that one row in ten thousand has would drown the others."""


@TRAINERS.add
@dataclass(frozen=True, slots=True)
class MultiLabel(OneText):
    """What the task adds to every method's settings."""

    layers: Annotated[tuple[int, ...], Len(1)] = (-1,)
    """Hidden states the head reads, concatenated; negative counts from the top, 0 is the
    embedding layer. Layers above the highest one read are not run."""
    positive_weight: Literal["none", "sqrt", "balanced"] = "none"
    """Weight in the loss of the rows that have a label, against those that do not: 1; (rows without
    / rows with) to the power ½ or 1, at most 100."""
    focal: Annotated[float, Ge(0), Le(10)] = 0.0
    """Focal loss: the loss of a label on a row times (1 − p of the truth) to this power; 0 is
    cross-entropy. For methods that are descended on."""

    def weights(self, truth: NDArray[np.float32], outputs: int) -> NDArray[np.float32]:
        """(outputs,) weight of the rows that have each label; 1 where none has or all have.

        Args:
            truth: (rows, outputs), 1 where the row has the label.
            outputs: Number of labels.
        """
        power = {"none": 0.0, "sqrt": 0.5, "balanced": 1.0}[self.positive_weight]
        having = truth.sum(0, dtype=np.float64)
        without = len(truth) - having
        ratio = np.clip(without / np.maximum(having, 1), 1 / _MOST_WEIGHT, _MOST_WEIGHT)
        return np.where((having > 0) & (without > 0), ratio**power, 1.0).astype(np.float32)

    def loss(self, logits: Tensor, truth: Tensor, weights: Tensor, smoothing: float) -> Tensor:
        """Binary cross-entropy, averaged over rows and labels; focal where asked.

        Focal loss: Lin et al. 2017, https://arxiv.org/abs/1708.02002

        Args:
            logits: (batch, outputs).
            truth: (batch, outputs), 1 where the row has the label, else 0.
            weights: (outputs,), of the rows that have it.
            smoothing: Share of the target spread over yes and no.
        """
        wide = logits.float()
        target = truth.to(wide.dtype)
        each = nn.functional.binary_cross_entropy_with_logits(
            wide, target * (1 - smoothing) + smoothing / 2, pos_weight=weights, reduction="none"
        )
        if self.focal:
            # log(1 − p of the truth), from the logit that speaks against it.
            against = nn.functional.logsigmoid(wide * (1 - 2 * target))
            each = (self.focal * against).exp() * each
        return each.mean()

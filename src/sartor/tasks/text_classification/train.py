"""The training half of text classification: settings of the head, weights of classes, the loss."""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Le, Len, Lt
from numpy.typing import NDArray
from torch import Tensor, nn

from sartor.tasks import TRAINERS
from sartor.tasks._encoder.model import load
from sartor.tasks._encoder.one_text import OneText

__all__ = ["TextClassification", "load"]


@TRAINERS.add
@dataclass(frozen=True, slots=True)
class TextClassification(OneText):
    """What the task adds to every method's settings."""

    layers: Annotated[tuple[int, ...], Len(1)] = (-1,)
    """Hidden states the head reads, concatenated; negative counts from the top, 0 is the
    embedding layer. Layers above the highest one read are not run."""
    class_weight: Literal["none", "sqrt", "balanced", "effective"] = "none"
    """Weight of a class in the loss: 1; (n / (classes · n_class)) to the power ½ or 1; or the
    inverse of its effective number of rows, (1 − b) / (1 − b^n_class)."""
    effective_beta: Annotated[float, Ge(0), Lt(1)] = 0.999
    """b of the effective number: 0 weighs rows alike, towards 1 classes alike."""
    focal: Annotated[float, Ge(0), Le(10)] = 0.0
    """Focal loss: a row's loss times (1 − p of its class) to this power; 0 is cross-entropy. For
    methods that are descended on."""

    def weights(self, labels: NDArray[np.int64], outputs: int) -> NDArray[np.float32]:
        """(outputs,) weight of each class in the loss; a class without rows weighs 1.

        Effective number: Cui et al. 2019, https://arxiv.org/abs/1901.05555; scaled so that the
        rows' mean weight is 1, as that of "balanced" is.
        """
        counts = np.bincount(labels, minlength=outputs)
        if self.class_weight == "effective":
            return _effective(counts, self.effective_beta)
        power = {"none": 0.0, "sqrt": 0.5, "balanced": 1.0}[self.class_weight]
        present = max(np.count_nonzero(counts), 1)
        ratio = len(labels) / (present * np.maximum(counts, 1))
        return np.where(counts > 0, ratio**power, 1.0).astype(np.float32)

    def loss(self, logits: Tensor, labels: Tensor, weights: Tensor, smoothing: float) -> Tensor:
        """Cross-entropy, averaged over rows by class weight; focal where asked.

        Focal loss: Lin et al. 2017, https://arxiv.org/abs/1708.02002

        Args:
            logits: (batch, outputs).
            labels: (batch,), integers in [0, outputs).
            weights: (outputs,).
            smoothing: Share of the target spread over all classes (Szegedy et al. 2016).
        """
        wide = logits.float()
        if not self.focal:
            return nn.functional.cross_entropy(
                wide, labels, weight=weights, label_smoothing=smoothing
            )
        each = nn.functional.cross_entropy(
            wide, labels, weight=weights, label_smoothing=smoothing, reduction="none"
        )
        sure = wide.softmax(-1).gather(1, labels.unsqueeze(1)).squeeze(1)
        # The power's gradient at 0 is infinite below 1: a row that is answered surely must not
        # turn the step into NaN.
        doubt = (1 - sure).clamp(min=1e-6) ** self.focal
        return (doubt * each).sum() / weights[labels].sum()


def _effective(counts: NDArray[np.int64], beta: float) -> NDArray[np.float32]:
    """(outputs,) inverse effective numbers of rows; a class without rows weighs 1."""
    raw = (1 - beta) / (1 - beta ** np.maximum(counts, 1))
    scale = counts.sum() / max(float((raw * counts).sum()), 1e-12)
    return np.where(counts > 0, raw * scale, 1.0).astype(np.float32)

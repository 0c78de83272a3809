"""The training half of numbers: the loss, and the unit that a head trains in.

L = mean over rows of ρ((z − y) / s),   ρ(e) = e² / 2, or Huber's: a line beyond `huber`

s is the deviation of the training rows' numbers. While the loop trains, the head answers
m + s · (W x + b) with m their mean, so that learning rates mean the same whatever the numbers
count; closing folds m and s into W and b, and the model that ships answers in the numbers' own
unit.

Huber 1964, https://doi.org/10.1214/aoms/1177703732
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from annotated_types import Ge, Le, Len
from numpy.typing import NDArray
from torch import Tensor, nn

from sartor.core.errors import SettingError
from sartor.core.likelihood import Truth
from sartor.tasks import TRAINERS
from sartor.tasks._encoder.heads import Linear, Scaled
from sartor.tasks._encoder.model import load
from sartor.tasks._encoder.one_text import OneText

__all__ = ["TextRegression", "load"]


@TRAINERS.add
@dataclass(frozen=True, slots=True)
class TextRegression(OneText):
    """What the task adds to every method's settings."""

    unused: ClassVar[tuple[str, ...]] = ("label_smoothing",)

    layers: Annotated[tuple[int, ...], Len(1)] = (-1,)
    """Hidden states the head reads, concatenated; negative counts from the top, 0 is the
    embedding layer. Layers above the highest one read are not run."""
    huber: Annotated[float, Ge(0), Le(100)] = 0.0
    """Deviations of the numbers beyond which an error counts as a line, so that few far ones do not
    rule the rest; 0 is the square throughout. For methods that are descended on."""

    def weights(self, truth: NDArray[Any], outputs: int) -> NDArray[np.float32]:
        """(outputs,) 1 / s, which brings errors to the loss's unit.

        Args:
            truth: (rows,) numbers.
            outputs: 1.
        """
        return np.full(outputs, 1.0 / _deviation(truth), np.float32)

    def loss(self, logits: Tensor, truth: Tensor, weights: Tensor, smoothing: float) -> Tensor:
        """See above.

        Args:
            logits: (batch, 1), in the numbers' unit.
            truth: (batch,).
            weights: (1,), 1 / s.
            smoothing: Has no meaning here.

        Raises:
            SettingError: If `smoothing` is not 0.
        """
        if smoothing:
            raise SettingError(
                f"label_smoothing={smoothing} spreads a label over others, and a number has none.",
                fix="leave label_smoothing out.",
            )
        error = (logits[:, 0].float() - truth.float()) * weights
        if not self.huber:
            return error.pow(2).mean() / 2
        zero = torch.zeros_like(error)
        return nn.functional.huber_loss(error, zero, delta=self.huber)

    def open(self, model: nn.Module, truth: Truth, *, fresh: bool) -> None:
        """Let a linear head train in the numbers' unit; a fresh one starts around their mean."""
        wide: Any = model
        if not isinstance(wide.head, Linear):
            return
        scaled = Scaled(wide.head, float(np.mean(truth)), _deviation(truth))
        if fresh:
            scaled.inner.load_state_dict(wide.head.state_dict())
        wide.head = scaled.to(wide.head.weight.device)

    def close(self, model: nn.Module) -> None:
        wide: Any = model
        if isinstance(wide.head, Scaled):
            wide.head = wide.head.folded()


def _deviation(truth: Truth) -> float:
    """Above 0: of equal numbers it is 1."""
    return float(np.std(np.asarray(truth, np.float64))) or 1.0

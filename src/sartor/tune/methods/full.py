"""Full fine-tuning: every weight learns, the lower layers more slowly where asked.

lr(layer l of L) = lr · layer_decay^(L − l)
Layer-wise decay: Howard and Ruder 2018, https://arxiv.org/abs/1801.06146
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from annotated_types import Gt, Le
from torch import nn

from sartor.tune.api import METHODS, Dimension, Reads, Real, Whole, is_head, open_tensors

_LAYER = re.compile(r"\.layers?\.(\d+)\.")


@METHODS.add
@dataclass(frozen=True, slots=True)
class Full:
    """Trains all weights of encoder and head."""

    reads: ClassVar[Reads] = "tokens"
    rung: ClassVar[int | None] = 40

    lr: Annotated[float, Gt(0), Le(1)] = 1e-4
    """Peak learning rate of the encoder's top layer."""
    head_lr: Annotated[float, Gt(0), Le(1)] = 1e-3
    """Peak learning rate of the head, which starts without pretraining."""
    layer_decay: Annotated[float, Gt(0), Le(1)] = 0.9
    """Factor on the learning rate from each layer to the one below it."""

    def attach(self, model: nn.Module) -> None:
        open_tensors(model, lambda name: True)

    def fold(self, model: nn.Module) -> None:
        """Nothing was added."""

    def rate(self, name: str, depth: int) -> float:
        if is_head(name):
            return self.head_lr
        found = _LAYER.search(name)
        below = depth - int(found.group(1)) - 1 if found else depth
        return self.lr * self.layer_decay**below

    @staticmethod
    def portfolio() -> Sequence[Mapping[str, Any]]:
        return [{"lr": 1e-4, "epochs": 3}, {"lr": 5e-5, "epochs": 3}, {"lr": 2e-4, "epochs": 2}]

    @staticmethod
    def space() -> Mapping[str, Dimension]:
        return {
            "lr": Real(1e-5, 5e-4, log=True),
            "layer_decay": Real(0.6, 1.0),
            "epochs": Whole(1, 8),
            "label_smoothing": Real(0.0, 0.2),
        }

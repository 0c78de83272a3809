"""(IA)³: learn one factor for each key, value and feed-forward activation.

softmax(q (l_k ⊙ K)ᵀ / √d) (l_v ⊙ V);  W_2 (l_ff ⊙ act(W_1 x));  l = 1 at first

The factors fold into the linear layers that they stand behind or before.

Liu et al. 2022, https://arxiv.org/abs/2205.05638
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from annotated_types import Gt, Le
from torch import nn

from sartor.tune.api import METHODS, Dimension, Reads, Real, Whole, is_head
from sartor.tune.blocks import find
from sartor.tune.injected import inject, merge


@METHODS.add
@dataclass(frozen=True, slots=True)
class IA3:
    """Trains 2 · width + feed-forward width factors a layer, and the head."""

    reads: ClassVar[Reads] = "tokens"
    rung: ClassVar[int | None] = None

    lr: Annotated[float, Gt(0), Le(1)] = 2e-2
    """Peak learning rate of the factors."""
    head_lr: Annotated[float, Gt(0), Le(1)] = 5e-3
    """Peak learning rate of the head, which starts without pretraining."""

    def attach(self, model: nn.Module) -> None:
        from peft import IA3Config

        feedforward = find(model, "after_feedforward")
        keys_values = [*find(model, "key"), *find(model, "value")]
        config = IA3Config(
            target_modules=[*keys_values, *feedforward], feedforward_modules=feedforward
        )
        inject(model, config)

    def fold(self, model: nn.Module) -> None:
        merge(model)

    def rate(self, name: str, depth: int) -> float:
        return self.head_lr if is_head(name) else self.lr

    @staticmethod
    def portfolio() -> Sequence[Mapping[str, Any]]:
        return [
            {"lr": 2e-2, "epochs": 5},
            {"lr": 5e-2, "epochs": 5},
            {"lr": 1e-2, "epochs": 8},
        ]

    @staticmethod
    def space() -> Mapping[str, Dimension]:
        return {
            "lr": Real(1e-3, 1e-1, log=True),
            "epochs": Whole(2, 16, log=True),
            "label_smoothing": Real(0.0, 0.2),
        }

"""LoRA: learn a low-rank update beside each frozen linear layer.

y = Wx + (alpha / rank)·BAx,  A: (rank, in),  B: (out, rank), B starts at zero
Hu et al. 2021, https://arxiv.org/abs/2106.09685
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Gt, Le, Lt
from torch import nn

from sartor.tune.api import METHODS, Dimension, Reads, Real, Whole
from sartor.tune.injected import choose_linears, inject, merge


@METHODS.add
@dataclass(frozen=True, slots=True)
class Lora:
    """Adapts every `nn.Linear` of the encoder whose dotted name matches `where`, and the head."""

    reads: ClassVar[Reads] = "tokens"
    rung: ClassVar[int | None] = 30

    rank: Annotated[int, Ge(1), Le(1024)] = 8
    """Width of the bottleneck; trainable parameters grow linearly with it."""
    alpha: Annotated[float, Gt(0)] = 16.0
    """Scale of the update: it is multiplied by alpha / rank."""
    lora_dropout: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Share of the inputs of A set to zero while training."""
    where: str = "*"
    """Glob over module names below the encoder, e.g. `*.query`; attention and feed-forward."""
    lr: Annotated[float, Gt(0), Le(1)] = 1e-3
    """Peak learning rate of A, B and the head."""

    def attach(self, model: nn.Module) -> None:
        self.beside(model, choose_linears(model, self.where))

    def beside(self, model: nn.Module, layers: Sequence[str]) -> None:
        """Put updates beside the linear layers of these dotted names; they and the head train."""
        # Here, since planning asks a method for its settings and need not wait for peft.
        from peft import LoraConfig

        config = LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,  # type: ignore[arg-type]  # peft divides; a float is fine
            lora_dropout=self.lora_dropout,
            target_modules=list(layers),
            bias="none",
        )
        inject(model, config)

    def fold(self, model: nn.Module) -> None:
        merge(model)

    def rate(self, name: str, depth: int) -> float:
        return self.lr

    @staticmethod
    def portfolio() -> Sequence[Mapping[str, Any]]:
        return [
            {"rank": 8, "lr": 1e-3, "epochs": 3},
            {"rank": 16, "lr": 5e-4, "epochs": 3},
            {"rank": 4, "lr": 2e-3, "epochs": 2},
        ]

    @staticmethod
    def context_portfolio() -> Sequence[Mapping[str, Any]]:
        rest = {"epochs": 6, "batch_rows": 8}
        return [{"rank": 16, "lr": 1e-3, **rest}, {"rank": 8, "lr": 2e-3, **rest}]

    @staticmethod
    def space() -> Mapping[str, Dimension]:
        return {
            "rank": Whole(2, 64, log=True),
            "lr": Real(1e-4, 5e-3, log=True),
            "epochs": Whole(1, 8),
            "label_smoothing": Real(0.0, 0.2),
        }

"""BitFit: learn only the biases.

Each layer y = Wx + b keeps its W; b moves, and so does the shift of every normalisation: about
0.1 % of BERT's weights.

Ben Zaken et al. 2022, https://arxiv.org/abs/2106.10199
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from annotated_types import Gt, Le
from torch import nn

from sartor.core.errors import NothingToTune
from sartor.tune.api import METHODS, Dimension, Reads, Real, Whole, is_head, open_tensors


@METHODS.add
@dataclass(frozen=True, slots=True)
class BitFit:
    """Trains the encoder's biases, and the head."""

    reads: ClassVar[Reads] = "tokens"
    rung: ClassVar[int | None] = None

    lr: Annotated[float, Gt(0), Le(1)] = 2e-3
    """Peak learning rate of the biases."""
    head_lr: Annotated[float, Gt(0), Le(1)] = 5e-3
    """Peak learning rate of the head, which starts without pretraining."""

    def attach(self, model: nn.Module) -> None:
        names = [name for name, _ in model.named_parameters()]
        if not any(_is_bias(name) for name in names if not is_head(name)):
            raise NothingToTune(
                "the encoder has no biases to train.",
                fix="choose another method: `--method lora` fits every encoder with linear layers.",
            )
        open_tensors(model, lambda name: is_head(name) or _is_bias(name))

    def fold(self, model: nn.Module) -> None:
        model.requires_grad_(True)

    def rate(self, name: str, depth: int) -> float:
        return self.head_lr if is_head(name) else self.lr

    @staticmethod
    def portfolio() -> Sequence[Mapping[str, Any]]:
        return [
            {"lr": 2e-3, "epochs": 5},
            {"lr": 3e-3, "epochs": 5},
            {"lr": 1e-3, "epochs": 8},
        ]

    @staticmethod
    def space() -> Mapping[str, Dimension]:
        return {
            "lr": Real(1e-4, 2e-2, log=True),
            "epochs": Whole(2, 16, log=True),
            "label_smoothing": Real(0.0, 0.2),
        }


def _is_bias(name: str) -> bool:
    return name.endswith("bias")

"""Full fine-tuning: every weight learns, the lower layers more slowly where asked.

lr(layer l of L) = lr · layer_decay^(L − l)
Layer-wise decay and gradual unfreezing: Howard and Ruder 2018, https://arxiv.org/abs/1801.06146
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, cast

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn

from sartor.tune.api import (
    METHODS,
    Dimension,
    Reads,
    Real,
    Whole,
    is_head,
    layer_of,
    open_tensors,
)


@dataclass(frozen=True, slots=True)
class Thawing:
    """After how many steps each tensor opens.

    Args:
        opens: Dotted name to steps.
    """

    opens: Mapping[str, int]

    @staticmethod
    def of(model: nn.Module, steps: int) -> "Thawing":
        """Spread the openings of the layers, top first, evenly over `steps`."""
        names = [name for name, _ in model.named_parameters()]
        depth = 1 + max((layer_of(name) for name in names), default=-1)
        places = {n: 0 if is_head(n) else depth - layer_of(n) for n in names}
        return Thawing({n: round(steps * place / (depth + 1)) for n, place in places.items()})

    def open(self, model: nn.Module, step: int) -> None:
        """Make trainable what opens after `step` steps or earlier, and nothing else."""
        for name, tensor in model.named_parameters():
            tensor.requires_grad_(self.opens[name] <= step)


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
    thaw: Annotated[float, Ge(0), Le(1)] = 0.0
    """Share of the steps over which the layers open one after the other, the head at once and the
    embeddings last; 0 opens all at the start."""

    def attach(self, model: nn.Module) -> None:
        open_tensors(model, lambda name: True)

    def begin(self, model: nn.Module, steps: int) -> None:
        if self.thaw:
            plan = Thawing.of(model, round(steps * self.thaw))
            plan.open(model, 0)
            model.thawing = plan  # type: ignore[assignment]  # beside the model, no part of it

    def after_step(self, model: nn.Module, step: int) -> None:
        if self.thaw:
            cast("Thawing", model.thawing).open(model, step)

    def state(self, model: nn.Module) -> Mapping[str, Tensor]:
        if not self.thaw:
            return {}
        return {"thawed": torch.tensor([p.requires_grad for p in model.parameters()])}

    def restore(self, model: nn.Module, state: Mapping[str, Tensor]) -> None:
        if self.thaw:
            for tensor, opened in zip(model.parameters(), state["thawed"].tolist(), strict=True):
                tensor.requires_grad_(opened)

    def fold(self, model: nn.Module) -> None:
        """Nothing was added but the plan of the thaw."""
        model.__dict__.pop("thawing", None)
        model.requires_grad_(True)

    def rate(self, name: str, depth: int) -> float:
        if is_head(name):
            return self.head_lr
        return self.lr * self.layer_decay ** (depth - layer_of(name) - 1)

    @staticmethod
    def portfolio() -> Sequence[Mapping[str, Any]]:
        return [{"lr": 1e-4, "epochs": 3}, {"lr": 5e-5, "epochs": 3}, {"lr": 2e-4, "epochs": 2}]

    @staticmethod
    def context_portfolio() -> Sequence[Mapping[str, Any]]:
        rest = {"epochs": 6, "batch_rows": 8}
        return [{"lr": 1e-4, **rest}, {"lr": 2e-4, **rest}, {"lr": 5e-5, **rest}]

    @staticmethod
    def space() -> Mapping[str, Dimension]:
        return {
            "lr": Real(1e-5, 5e-4, log=True),
            "layer_decay": Real(0.6, 1.0),
            "epochs": Whole(1, 8),
            "label_smoothing": Real(0.0, 0.2),
        }

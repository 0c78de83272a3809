"""Top layers: the upper part of the encoder and the head learn, the lower part stays as it came.

lr(layer l of L) = lr · layer_decay^(L − l) for the upper k layers, 0 below

The lower part is run once a text, not once an epoch: its states are cached, and training reads
them. They come without dropout, which acts in the trained layers only. A step reads some of a
text's tokens: each state knows of the others already, and the head reads their mean.
Frozen lower layers cost little: Lee et al. 2019, https://arxiv.org/abs/1911.03090
Caching what they compute: Liu et al. 2021, https://arxiv.org/abs/2102.01386
Some of the tokens, at random: Liu et al. 2022, https://arxiv.org/abs/2208.07220
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Gt, Le
from torch import nn

from sartor.core.errors import ModelError, NothingToTune
from sartor.core.types import Backbone
from sartor.tune.api import (
    METHODS,
    Choice,
    Dimension,
    Reads,
    Real,
    Whole,
    is_head,
    layer_of,
    open_tensors,
)
from sartor.tune.upper import check_cut


@METHODS.add
@dataclass(frozen=True, slots=True)
class TopLayers:
    """Trains the last layers below the head, and the head."""

    reads: ClassVar[Reads] = "states"
    rung: ClassVar[int | None] = 20

    top: Annotated[int, Ge(1)] = 2
    """Layers trained, counted down from the highest one the head reads."""
    lr: Annotated[float, Gt(0), Le(1)] = 3e-4
    """Peak learning rate of the highest layer."""
    head_lr: Annotated[float, Gt(0), Le(1)] = 2e-3
    """Peak learning rate of the head, which starts without pretraining."""
    layer_decay: Annotated[float, Gt(0), Le(1)] = 0.9
    """Factor on the learning rate from each layer to the one below it."""
    token_share: Annotated[float, Gt(0), Le(1)] | None = None
    """Share of a text's tokens that a step reads, drawn anew each time, at least sixteen. None: a
    half, and all where the answers are about pieces of a text or a row is two texts."""

    def attach(self, model: nn.Module) -> None:
        depth = 1 + max((layer_of(name) for name, _ in model.named_parameters()), default=-1)
        lowest = depth - self._applying(depth)
        open_tensors(model, lambda name: is_head(name) or layer_of(name) >= lowest)

    def fold(self, model: nn.Module) -> None:
        model.requires_grad_(True)

    def rate(self, name: str, depth: int) -> float:
        if is_head(name):
            return self.head_lr
        return self.lr * self.layer_decay ** (depth - layer_of(name) - 1)

    def below(self, layers: Sequence[int]) -> int:
        highest = max(layers)
        return min(highest - self._applying(highest), *layers)

    @staticmethod
    def obstacle(
        backbone: Backbone, outputs: Sequence[str], descriptions: Mapping[str, str]
    ) -> str:
        return _uncut(backbone)

    def _applying(self, depth: int) -> int:
        """`top`, if there are that many layers."""
        if self.top > depth:
            raise NothingToTune(
                f"top={self.top} but there are {depth} layers below the head.",
                fix=f"choose top between 1 and {depth}."
                if depth
                else "let the head read a higher layer, or use method head.",
            )
        return self.top

    @staticmethod
    def portfolio() -> Sequence[Mapping[str, Any]]:
        # On 1,500 reviews the second half of three epochs gained nothing, and one layer too little.
        # Three layers on half of the tokens beat two on all, in less time: decision 78. Validation
        # rows are read whole: four times in two epochs were a quarter of a fit.
        return [
            {"top": 3, "lr": 3e-4, "epochs": 2, "evaluations": 1},
            {"top": 2, "lr": 3e-4, "epochs": 2, "evaluations": 1},
            {"top": 2, "lr": 5e-4, "epochs": 3},
            {"top": 1, "lr": 5e-4, "epochs": 3},
        ]

    @staticmethod
    def context_portfolio() -> Sequence[Mapping[str, Any]]:
        # To compare a question with its context is learnt in the layers: on the made-up manual two
        # epochs of larger batches had hardly begun.
        rest = {"epochs": 6, "batch_rows": 8}
        return [
            {"top": 4, "lr": 5e-4, **rest},
            {"top": 3, "lr": 5e-4, **rest},
            {"top": 2, "lr": 5e-4, **rest},
        ]

    @staticmethod
    def document_portfolio() -> Sequence[Mapping[str, Any]]:
        # Half of the tokens costs some of the ranks and takes half of the time: decision 85.
        rest = {"lr": 3e-4, "epochs": 2, "evaluations": 1}
        return [{"top": 3, **rest}, {"top": 4, "token_share": 1.0, **rest}]

    @staticmethod
    def space() -> Mapping[str, Dimension]:
        return {
            "top": Whole(1, 4),
            "lr": Real(2e-5, 1e-3, log=True),
            "layers": Choice(((-1,), (-2,), (-2, -1))),
            "epochs": Whole(1, 8),
            "label_smoothing": Real(0.0, 0.2),
        }


@lru_cache(maxsize=64)
def _uncut(backbone: Backbone) -> str:
    """Why the backbone's upper layers cannot be trained by themselves; empty where they can."""
    try:
        check_cut(backbone)
    except (NothingToTune, ModelError) as error:
        return error.what.rstrip(".")
    return ""

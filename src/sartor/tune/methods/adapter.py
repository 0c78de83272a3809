"""Bottleneck adapters: small networks between the frozen sublayers.

Houlsby et al. 2019 (https://arxiv.org/abs/1902.00751) put two into each layer, 2 · width ·
bottleneck + width + bottleneck weights each, and train the normalisations too; Pfeiffer et al. 2020
(https://arxiv.org/abs/2005.00247) one, at the layer's end. The equations are in
`tasks._encoder.added.adapter`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le
from torch import nn

from sartor.tasks._encoder.added import install
from sartor.tasks._encoder.added.adapter import Adapter
from sartor.tune.api import METHODS, Choice, Dimension, Reads, Real, Whole, is_head
from sartor.tune.blocks import find, open_added


@METHODS.add
@dataclass(frozen=True, slots=True)
class BottleneckAdapter:
    """Trains adapters and the head; the adapters stay in the model."""

    reads: ClassVar[Reads] = "tokens"
    rung: ClassVar[int | None] = None

    placement: Literal["houlsby", "pfeiffer"] = "pfeiffer"
    """After attention and feed-forward, or after the feed-forward layer alone."""
    bottleneck: Annotated[int, Ge(1), Le(4096)] = 48
    """Width of the hidden layer; trainable parameters grow linearly with it."""
    activation: Literal["relu", "gelu", "silu"] = "relu"
    """Between the adapter's two linear layers."""
    lr: Annotated[float, Gt(0), Le(1)] = 2e-3
    """Peak learning rate of the adapters."""
    head_lr: Annotated[float, Gt(0), Le(1)] = 5e-3
    """Peak learning rate of the head, which starts without pretraining."""

    def attach(self, model: nn.Module) -> None:
        if self.placement == "houlsby":
            at = [*find(model, "after_attention"), *find(model, "after_feedforward")]
            norms = [f"{name}." for name in find(model, "norms")]
        else:
            at, norms = find(model, "last_norm"), []
        install(model, Adapter(tuple(at), self.bottleneck, self.activation))
        open_added(model, ".adapter.", *norms)

    def fold(self, model: nn.Module) -> None:
        """The adapters are plain layers already."""
        model.requires_grad_(True)

    def rate(self, name: str, depth: int) -> float:
        return self.head_lr if is_head(name) else self.lr

    @staticmethod
    def portfolio() -> Sequence[Mapping[str, Any]]:
        return [
            {"placement": "pfeiffer", "lr": 2e-3, "epochs": 4},
            {"placement": "houlsby", "lr": 1e-3, "epochs": 4},
            {"placement": "pfeiffer", "bottleneck": 24, "lr": 5e-3, "epochs": 3},
        ]

    @staticmethod
    def space() -> Mapping[str, Dimension]:
        return {
            "placement": Choice(("houlsby", "pfeiffer")),
            "bottleneck": Whole(8, 256, log=True),
            "lr": Real(1e-4, 1e-2, log=True),
            "epochs": Whole(1, 10),
            "label_smoothing": Real(0.0, 0.2),
        }

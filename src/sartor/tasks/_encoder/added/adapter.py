"""Bottleneck adapters: a small network beside the backbone's own sublayers.

A(h) = W_up · act(W_down · h + b_down) + b_up,  W_down: (bottleneck, width), W_up starts at zero

Around a linear layer, y = h + A(h) with h its output (Houlsby et al. 2019,
https://arxiv.org/abs/1902.00751); around a normalisation, y = LN(x + A(LN(x))) with x the sum that
it normalises (Pfeiffer et al. 2020, https://arxiv.org/abs/2005.00247).
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Le, Len
from torch import Tensor, nn

from sartor.core.errors import ModelError
from sartor.tasks._encoder.added import ADDED

_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU}


@dataclass(frozen=True, slots=True)
class Adapter:
    """One bottleneck at each of some modules."""

    at: Annotated[tuple[str, ...], Len(1, 4096)]
    """Dotted names, below the model, of linear layers or normalisations of the encoder."""
    bottleneck: Annotated[int, Ge(1), Le(4096)]
    """Width of the hidden layer."""
    activation: Literal["relu", "gelu", "silu"]
    """Between the two linear layers."""

    def install(self, model: nn.Module) -> None:
        for name in self.at:
            base = _submodule(model, name)
            bottleneck = Bottleneck(_width(base, name), self.bottleneck, self.activation)
            bottleneck.to(next(base.parameters()).device)
            wrapper = BesideLinear if isinstance(base, nn.Linear) else BesideNorm
            model.set_submodule(name, wrapper(base, bottleneck).train(base.training))


class Bottleneck(nn.Module):
    """A(h); zero at first."""

    def __init__(self, width: int, bottleneck: int, activation: str) -> None:
        super().__init__()
        self.down = nn.Linear(width, bottleneck)
        self.act = _ACTIVATIONS[activation]()
        self.up = nn.Linear(bottleneck, width)
        nn.init.normal_(self.down.weight, std=0.02)
        for tensor in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(tensor)

    def forward(self, h: Tensor) -> Tensor:
        return self.up(self.act(self.down(h)))


class BesideLinear(nn.Module):
    """h + A(h), h = base(x)."""

    def __init__(self, base: nn.Module, adapter: Bottleneck) -> None:
        super().__init__()
        self.base, self.adapter = base, adapter

    def forward(self, x: Tensor) -> Tensor:
        h = self.base(x)
        return h + self.adapter(h)


class BesideNorm(nn.Module):
    """base(x + A(base(x)))."""

    def __init__(self, base: nn.Module, adapter: Bottleneck) -> None:
        super().__init__()
        self.base, self.adapter = base, adapter

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x + self.adapter(self.base(x)))


def _submodule(model: nn.Module, name: str) -> nn.Module:
    try:
        return model.get_submodule(name)
    except AttributeError as error:
        raise ModelError(
            f"the model's adapters belong at {name!r}, which this encoder does not have.",
            fix="train it again: `sartor run` rebuilds what is missing.",
        ) from error


def _width(base: nn.Module, name: str) -> int:
    if isinstance(base, nn.Linear):
        return base.out_features
    if isinstance(base, nn.LayerNorm):
        return base.normalized_shape[-1]
    raise ModelError(
        f"an adapter cannot stand beside {name!r}, a {type(base).__name__}.",
        fix="name linear layers or layer normalisations.",
    )


# Not a decorator: that would hide the fields from type checkers.
ADDED.add(Adapter)

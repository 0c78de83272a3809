"""How many heads and neurons each layer of an encoder has, where layers differ.

transformers' configurations know one number for all layers. A model that was pruned says its own
in classifier.json, `{"sizes": {"heads": [12, 7, …], "neurons": [768, 1536, …]}}`: loading makes
the layers of the configuration smaller before its tensors are read, never larger.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from annotated_types import Ge, Len
from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from torch import Tensor, nn

from sartor.core.errors import ModelError

_MOST_LAYERS = 1024
_ATTENTION = (
    # BERT, RoBERTa, XLM-R, ELECTRA; DistilBERT. They split heads off by the head's width alone.
    ("attention.self", ("query", "key", "value"), "attention.output.dense"),
    ("attention", ("q_lin", "k_lin", "v_lin"), "attention.out_lin"),
)
_NEURONS = (("intermediate.dense", "output.dense"), ("ffn.lin1", "ffn.lin2"))

Sized = Annotated[tuple[Annotated[int, Ge(1)], ...], Len(1, _MOST_LAYERS)]


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True, slots=True)
class Sizes:
    """One number a layer, bottom first."""

    heads: Sized
    """Attention heads; their width stays."""
    neurons: Sized
    """Of the feed-forward part."""


@dataclass(frozen=True, slots=True)
class Part:
    """Linear layers that have units in common: heads, or neurons.

    Args:
        layer: The transformer layer that they are below.
        into: Dotted names of those whose rows are units, below the layer.
        out: Of the one whose columns are.
        width: Rows a unit has.
    """

    layer: nn.Module
    into: tuple[str, ...]
    out: str
    width: int

    @property
    def units(self) -> int:
        """How many there are."""
        return self.reader.in_features // self.width

    @property
    def reader(self) -> nn.Linear:
        """The linear layer that the units feed."""
        found = self.layer.get_submodule(self.out)
        assert isinstance(found, nn.Linear)
        return found

    def keep(self, units: Tensor) -> None:
        """Keep some units, in place.

        Args:
            units: Their positions, ascending, at least one.
        """
        rows = (units.unsqueeze(1) * self.width + _range(self.width)).flatten()
        for name in self.into:
            base: Any = self.layer.get_submodule(name)
            bias = None if base.bias is None else base.bias[rows]
            self.layer.set_submodule(name, _linear(base.weight[rows], bias))
        self.layer.set_submodule(self.out, _linear(self.reader.weight[:, rows], self.reader.bias))


def heads_of(layer: nn.Module) -> Part | None:
    """The attention heads of a layer; None where it keeps them under no known name."""
    for module, names, out in _ATTENTION:
        into = tuple(f"{module}.{name}" for name in names)
        found: Any = _below(layer, module)
        if hasattr(found, "attention_head_size") and _are_linear(layer, *into, out):
            return Part(layer, into, out, found.attention_head_size)
    return None


def neurons_of(layer: nn.Module) -> Part | None:
    """The neurons of a layer's feed-forward part; None where it keeps them under no known name."""
    for into, out in _NEURONS:
        if _are_linear(layer, into, out):
            return Part(layer, (into,), out, 1)
    return None


def _are_linear(layer: nn.Module, *names: str) -> bool:
    # A method may have put an adapter around one.
    return all(isinstance(_below(layer, name), nn.Linear) for name in names)


def sizes_of(layers: Sequence[nn.Module]) -> Sizes | None:
    """What the layers have; None where they keep it under no known name."""
    heads, neurons = _units(layers)
    return Sizes(heads, neurons) if heads and neurons else None


def read_sizes(found: object) -> Sizes:
    """From what classifier.json holds.

    Raises:
        ModelError: If it is not sizes.
    """
    try:
        return TypeAdapter(Sizes).validate_python(found)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise _unfit(f"{place}={first['input']!r:.80}: {first['msg']}") from error


def shrink_to(layers: Sequence[nn.Module], sizes: Sizes) -> None:
    """Make the layers of a fresh encoder as small as that, in place; which weights stay is moot.

    Raises:
        ModelError: If there are other layers than that, or smaller ones.
    """
    have = sizes_of(layers)
    if have is None or len(sizes.heads) != len(layers) or len(sizes.neurons) != len(layers):
        raise _unfit(f"{len(layers)} layers are not those of heads={sizes.heads!r:.80}")
    for layer, heads, neurons in zip(layers, sizes.heads, sizes.neurons, strict=True):
        for part, wanted in ((heads_of(layer), heads), (neurons_of(layer), neurons)):
            assert part is not None
            if wanted > part.units:
                raise _unfit(f"a layer cannot have {wanted} of {part.units} units")
            if wanted < part.units:
                part.keep(_range(wanted))


def as_json(sizes: Sizes) -> Mapping[str, list[int]]:
    """What `read_sizes` reads."""
    return {"heads": list(sizes.heads), "neurons": list(sizes.neurons)}


def _units(layers: Sequence[nn.Module]) -> Iterator[tuple[int, ...]]:
    for found in ([heads_of(x) for x in layers], [neurons_of(x) for x in layers]):
        yield tuple(part.units for part in found if part is not None) if all(found) else ()


def _range(count: int) -> Tensor:
    return torch.arange(count)


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    made.weight = nn.Parameter(weight.detach().clone())
    if bias is not None:
        made.bias = nn.Parameter(bias.detach().clone())
    return made


def _below(module: nn.Module, name: str) -> nn.Module | None:
    try:
        return module.get_submodule(name)
    except AttributeError:
        return None


def _unfit(what: str) -> ModelError:
    return ModelError(
        f"the model's sizes do not fit its configuration ({what}).",
        fix="train it again: `sartor run` rebuilds what is missing.",
    )

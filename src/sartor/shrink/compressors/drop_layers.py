"""Drops whole layers of the encoder, and lets the rest learn what they did from the whole model.

Sajjad et al. 2020, https://arxiv.org/abs/2004.03844. Time falls with the layers; bytes too, but for
the word table.

A head reads chosen hidden states. State l is what layer l gives; where that layer goes, its place
is taken by the state below it that stays.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Gt, Le, Lt

from sartor.shrink.api import COMPRESSORS, Bench, Eased, Form, Place
from sartor.shrink.students import Whole, answers
from sartor.tasks._encoder.model import TextClassifier, layer_stack

_ROWS = 256
"""Validation rows that the effect of a layer is measured on."""


@COMPRESSORS.add
@dataclass(frozen=True, slots=True)
class DropLayers:
    """Keeps a share of the layers."""

    eases: ClassVar[tuple[Eased, ...]] = ("size", "speed")
    trains: ClassVar[bool] = True
    place: ClassVar[Place] = "layers"

    keep: Annotated[float, Gt(0), Lt(1)] = 0.5
    """Share of the layers that stay, at least one; rounded to whole layers."""
    which: Literal["effect", "top", "alternate"] = "effect"
    """What goes: one after the other the layer without which the answers on validation rows change
    least; the top; or layers evenly spread, bottom and top stay."""
    epochs: Annotated[int, Ge(1), Le(1000)] = 4
    """Passes over the training rows to recover."""
    lr: Annotated[float, Gt(0), Le(1)] = 1e-4
    """Peak learning rate of the encoder's top layer while it recovers."""

    def compress(self, source: Form, target: Path, bench: Bench) -> None:
        whole = Whole.opened("drop_layers", source, bench)
        total = len(whole.layers())
        count = min(max(1, round(self.keep * total)), total - 1)
        if count < 1:
            raise whole.nothing("one layer is the least an encoder can have")
        student = with_layers(whole.model, self._kept(whole, count))
        whole.teach(student, target, self.epochs, self.lr)

    def _kept(self, whole: Whole, count: int) -> list[int]:
        total = len(whole.layers())
        if self.which == "top":
            return list(range(count))
        if self.which == "alternate":
            return spread(total, count)
        return _least_missed(whole, count)


def spread(total: int, count: int) -> list[int]:
    """`count` of `total` layers at even distances: the top one, and from two on the bottom one."""
    if count == 1:
        return [total - 1]
    return [round(i * (total - 1) / (count - 1)) for i in range(count)]


def with_layers(model: TextClassifier, kept: Sequence[int]) -> TextClassifier:
    """A copy of the model with some of its layers, from 0, ascending; at least one."""
    student = deepcopy(model)
    stack = layer_stack(student.encoder)
    assert stack is not None
    for index in reversed([i for i in range(len(stack)) if i not in kept]):
        del stack[index]
    student.encoder.config.num_hidden_layers = len(stack)
    student.layers = tuple(sum(i < state for i in kept) for state in model.layers)
    return student


def _least_missed(whole: Whole, count: int) -> list[int]:
    """The layers that are left after dropping, one by one, the one whose loss changes least."""
    bench = whole.bench
    rows = whole.sample(bench.validation if len(bench.validation) else bench.train, _ROWS)
    batches = whole.batches(rows)
    wanted = answers(whole.model, batches)
    kept = list(range(len(whole.layers())))
    while len(kept) > count:
        missed = [_farness(wanted, whole, [k for k in kept if k != gone], batches) for gone in kept]
        del kept[min(range(len(kept)), key=missed.__getitem__)]
    return kept


def _farness(wanted: torch.Tensor, whole: Whole, kept: Sequence[int], batches: list) -> float:
    """How far the answers with some layers lie from the wanted ones."""
    return whole.apart(wanted, answers(with_layers(whole.model, kept), batches))

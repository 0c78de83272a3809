"""Frozen backbone: a logistic regression, or a small network, on cached activations.

min over W, b of  C · Σ_i w_i · −log softmax(W x_i + b)[y_i] + ½‖W‖²,  x standardised

Nothing is encoded twice: a grid of settings costs seconds, and is solved together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import nn
from transformers import PreTrainedModel

from sartor.core.protocols import Floats
from sartor.tune.api import METHODS, Choice, Dimension, Reads, Real, is_head, open_tensors
from sartor.tune.frozen import Build, ClosedFit, Frozen, Point
from sartor.tune.heads import HeadData, HeadFit, HeadSetting, fit_heads
from sartor.tune.hidden import HiddenFit, HiddenSetting, fit_hidden


@METHODS.add
@dataclass(frozen=True, slots=True)
class Head:
    """Trains the head alone; which hidden states it reads is the task's `layers`."""

    reads: ClassVar[Reads] = "activations"
    rung: ClassVar[int | None] = 10

    C: Annotated[float, Gt(0)] = 0.01
    """Inverse strength of the L2 penalty on standardised features; smaller is stricter."""
    mean_of_layers: bool = False
    """Read the mean of the layers instead of each beside the others."""
    hidden: Annotated[int, Ge(0), Le(4096)] = 0
    """Width of a hidden layer with GELU; 0 for none."""
    hidden_dropout: Annotated[float, Ge(0), Lt(1)] = 0.2
    """Share of the hidden units set to zero while training."""
    hidden_lr: Annotated[float, Gt(0), Le(1)] = 1e-3
    """Learning rate of a head with a hidden layer."""

    @property
    def closed(self) -> bool:
        return not self.hidden

    def attach(self, model: nn.Module) -> None:
        open_tensors(model, is_head)

    def fold(self, model: nn.Module) -> None:
        model.requires_grad_(True)

    def rate(self, name: str, depth: int) -> float:
        # Only the laws descend on a head; the tuner fits it in closed form.
        return 1e-2

    @staticmethod
    def fit_all(frozen: Frozen, grid: Sequence[Point]) -> list[ClosedFit]:
        data = head_data(frozen)
        flat = {
            i: HeadSetting(p.layers, p.method.C, p.weights, p.method.mean_of_layers)
            for i, p in enumerate(grid)
            if not p.method.hidden
        }
        deep = {i: _hidden(p) for i, p in enumerate(grid) if p.method.hidden}
        found: dict[int, ClosedFit] = {}
        build = frozen.build
        for i, fit in zip(flat, fit_heads(data, list(flat.values())), strict=True):
            found[i] = _closed(fit, grid[i].layers, build)
        for i, fit in zip(deep, fit_hidden(data, frozen.held, list(deep.values())), strict=True):
            found[i] = _closed_hidden(fit, grid[i].layers, build)
        return [found[i] for i in range(len(grid))]

    @staticmethod
    def portfolio() -> Sequence[Mapping[str, Any]]:
        # The last layer is seldom the best of a sentence encoder, and a wide head wants a strict
        # penalty; many classes that lie apart, a weak one. More layers or means of layers changed
        # nothing that a few hundred validation rows can see, but for the noise of choosing.
        strengths = (0.01, 0.001, 0.1, 1.0)
        one = [{"layers": [layer], "C": c} for layer in (-3, -2, -1) for c in strengths]
        four = [{"layers": [-4, -3, -2, -1], "C": c} for c in (0.001, 0.003, 0.01, 0.1)]
        return [*four, *one]

    @staticmethod
    def pair_obstacle(outputs: Sequence[str]) -> str:
        return ""

    @staticmethod
    def pair_portfolio() -> Sequence[Mapping[str, Any]]:
        # Four layers are four times as wide here: one, in either order of the texts or in both.
        strengths = (0.01, 0.001, 0.1)
        return [
            {"layers": [layer], "C": c, "symmetric": symmetric}
            for layer in (-3, -2, -1)
            for c in strengths
            for symmetric in (False, True)
        ]

    @staticmethod
    def piece_portfolio() -> Sequence[Mapping[str, Any]]:
        # Each layer's states are kept by themselves and are many: few layers, one strength more.
        strengths = (0.01, 0.1, 1.0)
        one = [{"layers": [layer], "C": c} for layer in (-2, -1) for c in strengths]
        two = [{"layers": [-2, -1], "C": c} for c in (0.003, 0.01, 0.1)]
        return [*two, *one]

    @staticmethod
    def space() -> Mapping[str, Dimension]:
        return {"C": Real(1e-4, 10.0, log=True), "hidden": Choice((0, 32, 128))}


def head_data(frozen: Frozen) -> HeadData:
    """The rows' activations, read when a set of layers is asked for."""
    return HeadData(
        train=lambda layers: frozen.features(frozen.train, layers),
        validation=lambda layers: frozen.features(frozen.validation, layers),
        labels=frozen.labels,
        outputs=len(frozen.outputs),
    )


def _hidden(point: Point) -> HiddenSetting:
    m = point.method
    return HiddenSetting(
        layers=point.layers,
        average=m.mean_of_layers,
        hidden=m.hidden,
        C=m.C,
        dropout=m.hidden_dropout,
        lr=m.hidden_lr,
        weights=point.weights,
        seed=point.seed,
    )


def _closed(fit: HeadFit, layers: tuple[int, ...], on: Build) -> ClosedFit:
    def build(encoder: PreTrainedModel) -> nn.Module:
        model: Any = on(encoder, len(fit.bias), layers, {})
        _fill(model.head, fit.weight, fit.bias)
        return model

    return ClosedFit(fit.validation_logits, fit.train_logits, build)


def _closed_hidden(fit: HiddenFit, layers: tuple[int, ...], on: Build) -> ClosedFit:
    def build(encoder: PreTrainedModel) -> nn.Module:
        shape = {"kind": "hidden", "hidden": len(fit.inner[1])}
        model: Any = on(encoder, len(fit.outer[1]), layers, shape)
        _fill(model.head.inner, *fit.inner)
        _fill(model.head.outer, *fit.outer)
        return model

    return ClosedFit(fit.validation_logits, fit.train_logits, build)


def _fill(layer: Any, weight: Floats, bias: Floats) -> None:
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(bias))

"""Frozen backbone: a logistic regression on cached activations.

min over W, b of  C · Σ_i w_i · −log softmax(W x_i + b)[y_i] + ½‖W‖²,  x standardised

Nothing is encoded twice and nothing is descended: a grid of settings costs seconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Gt
from torch import nn
from transformers import PreTrainedModel

from sartor.tasks.text_classification.train import TextClassifier
from sartor.tune.api import METHODS, Dimension, Reads, Real, is_head, open_tensors
from sartor.tune.frozen import ClosedFit, Frozen, Point
from sartor.tune.heads import HeadData, HeadFit, HeadSetting, fit_heads


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

    def attach(self, model: nn.Module) -> None:
        open_tensors(model, is_head)

    def fold(self, model: nn.Module) -> None:
        model.requires_grad_(True)

    def rate(self, name: str, depth: int) -> float:
        # Only the laws descend on a head; the tuner fits it in closed form.
        return 1e-2

    @staticmethod
    def fit_all(frozen: Frozen, grid: Sequence[Point]) -> list[ClosedFit]:
        settings = [
            HeadSetting(p.layers, p.method.C, p.weights, p.method.mean_of_layers) for p in grid
        ]
        fits = fit_heads(head_data(frozen), settings)
        return [_closed(fit, setting) for fit, setting in zip(fits, settings, strict=True)]

    @staticmethod
    def portfolio() -> Sequence[Mapping[str, Any]]:
        # The last layer is seldom the best of a sentence encoder, and a wide head wants a strict
        # penalty.
        one = [{"layers": [layer], "C": c} for layer in (-3, -2, -1) for c in (0.01, 0.001, 0.1)]
        four = [{"layers": [-4, -3, -2, -1], "C": c} for c in (0.001, 0.003, 0.01)]
        return [*four, *one]

    @staticmethod
    def space() -> Mapping[str, Dimension]:
        return {"C": Real(1e-4, 10.0, log=True)}


def head_data(frozen: Frozen) -> HeadData:
    """The rows' activations, read when a set of layers is asked for."""
    return HeadData(
        train=lambda layers: frozen.source.features(frozen.train, layers),
        validation=lambda layers: frozen.source.features(frozen.validation, layers),
        labels=frozen.labels,
        outputs=len(frozen.outputs),
    )


def _closed(fit: HeadFit, setting: HeadSetting) -> ClosedFit:
    def build(encoder: PreTrainedModel) -> nn.Module:
        model = TextClassifier(encoder, len(fit.bias), setting.layers)
        with torch.no_grad():
            model.head.weight.copy_(torch.from_numpy(fit.weight))
            model.head.bias.copy_(torch.from_numpy(fit.bias))
        return model

    return ClosedFit(fit.validation_logits, fit.train_logits, build)

"""Fusion: what a frozen encoder makes of the text, beside the columns, in one closed-form head.

See `tune.fused` for the equation. The text is encoded once, for every setting and every later run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Gt
from torch import nn
from transformers import PreTrainedModel

from sartor.tasks.tabular_text.model import FusedClassifier
from sartor.tune.api import METHODS, Dimension, Reads, Real
from sartor.tune.frozen import ClosedFit, Frozen, Point
from sartor.tune.fused import Strength, fill, fit_linear, table_of
from sartor.tune.heads import HeadFit


@METHODS.add  # pyright: ignore[reportArgumentType]  # it opens no model
@dataclass(frozen=True, slots=True)
class Fusion:
    """Fits one linear layer on cached activations and the encoded columns."""

    reads: ClassVar[Reads] = "activations"
    rung: ClassVar[int | None] = 12
    columns: ClassVar[Literal["beside"]] = "beside"

    C: Annotated[float, Gt(0)] = 0.3
    """Inverse strength of the L2 penalty on the columns; smaller is stricter."""
    text_C: Annotated[float, Gt(0)] = 0.001
    """Inverse strength of that on the text's standardised activations."""

    @staticmethod
    def fit_all(frozen: Frozen, grid: Sequence[Point]) -> list[ClosedFit]:
        points = [Strength(p.method.C, p.weights, p.method.text_C, p.layers) for p in grid]
        features = table_of(frozen, frozen.train).shape[1]
        return [
            _closed(fit, point.layers, features)
            for fit, point in zip(fit_linear(frozen, points), grid, strict=True)
        ]

    @staticmethod
    def portfolio() -> Sequence[Mapping[str, Any]]:
        return [
            {"layers": [layer], "C": c, "text_C": text}
            for layer in (-2, -1)
            for c in (0.1, 1.0)
            for text in (0.001, 0.0001, 0.01)
        ]

    @staticmethod
    def space() -> Mapping[str, Dimension]:
        return {"C": Real(1e-3, 100.0, log=True), "text_C": Real(1e-5, 1.0, log=True)}


def _closed(fit: HeadFit, layers: tuple[int, ...], features: int) -> ClosedFit:
    def build(encoder: PreTrainedModel) -> nn.Module:
        model = FusedClassifier(encoder, len(fit.bias), layers, features)
        return fill(model, fit.weight, fit.bias)

    return ClosedFit(fit.validation_logits, fit.train_logits, build)

"""Columns alone: a logistic regression on numbers, categories and dates; a text is not read.

The plainest model of a table, and one whose weights a person can read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Gt

from sartor.tasks.tabular_text.model import ColumnsClassifier
from sartor.tune.api import METHODS, Dimension, Reads, Real, arrays_alone
from sartor.tune.frozen import ClosedFit, Frozen, Point
from sartor.tune.fused import Strength, fill, fit_linear, wordless
from sartor.tune.heads import HeadFit


@METHODS.add  # pyright: ignore[reportArgumentType]  # it opens no model
@dataclass(frozen=True, slots=True)
class Columns:
    """Fits one linear layer on the encoded columns."""

    reads: ClassVar[Reads] = "activations"
    rung: ClassVar[int | None] = 2
    columns: ClassVar[Literal["alone"]] = "alone"

    C: Annotated[float, Gt(0)] = 0.3
    """Inverse strength of the L2 penalty on the columns; smaller is stricter."""

    shipped = staticmethod(arrays_alone)

    @staticmethod
    def fit_all(frozen: Frozen, grid: Sequence[Point]) -> list[ClosedFit]:
        points = [Strength(p.method.C, p.weights) for p in grid]
        return [_closed(fit) for fit in fit_linear(frozen, points)]

    @staticmethod
    def portfolio() -> Sequence[Mapping[str, Any]]:
        return [{"C": c} for c in (0.1, 0.03, 0.3, 1.0)]

    @staticmethod
    def space() -> Mapping[str, Dimension]:
        return {"C": Real(1e-3, 100.0, log=True)}


def _closed(fit: HeadFit) -> ClosedFit:
    outputs, features = fit.weight.shape
    model = fill(ColumnsClassifier(features, outputs), fit.weight, fit.bias)
    return ClosedFit(fit.validation_logits, fit.train_logits, made=(model, wordless()))

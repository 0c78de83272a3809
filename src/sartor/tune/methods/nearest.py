"""Frozen backbone: the documents whose vectors lie nearest, in a space fitted in closed form.

logits_k = 20 · cos(P (x − μ), P (d_k − μ)),   x and d from the same encoder

P and μ are those of `tasks.retrieval.space`. Rows say nothing but which document is theirs, so
documents that no row names find their place too, and so do documents that come later.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, cast

import numpy as np
import torch
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedModel

from sartor.core.protocols import Floats
from sartor.tasks.retrieval.index import similar
from sartor.tasks.retrieval.space import Metric, fit_space, narrowed
from sartor.tune.api import METHODS, Dimension, Reads, Real, is_head, open_tensors
from sartor.tune.frozen import ClosedFit, Frozen, Point
from sartor.tune.teaching import ReadsPassages

_SCORED = 512
"""Training rows that are scored: enough to see a gap, and documents may be many."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the encoder makes of everything, at some layers; (…, features) each."""

    train: Floats
    held: Floats
    documents: Floats
    labels: NDArray[np.int64]


@METHODS.add
@dataclass(frozen=True, slots=True)
class Nearest:
    """Finds documents by the untuned encoder; what is fitted is the space they are compared in."""

    reads: ClassVar[Reads] = "activations"
    rung: ClassVar[int | None] = 2
    ranks: ClassVar[Literal[True]] = True

    metric: Metric = "centred"
    """What P is: see there."""
    shrinkage: Annotated[float, Gt(0), Le(1)] = 0.3
    """Share of the identity in Σ; of few rows more is needed."""
    dimensions: Annotated[int, Ge(0), Le(4096)] = 0
    """Of a document's vector, where Σ is used: only those directions are kept in which texts and
    documents differ most; 0 for all. Fewer make the index smaller."""

    def attach(self, model: nn.Module) -> None:
        open_tensors(model, is_head)

    def fold(self, model: nn.Module) -> None:
        model.requires_grad_(True)

    def rate(self, name: str, depth: int) -> float:
        # Only the laws descend on it; the tuner fits it in closed form.
        return 1e-2

    @staticmethod
    def fit_all(frozen: Frozen, grid: Sequence[Point]) -> list[ClosedFit]:
        source = frozen.source
        said = [frozen.descriptions.get(name, name) for name in frozen.outputs]
        found: dict[int, ClosedFit] = {}
        for layers in dict.fromkeys(point.layers for point in grid):
            seen = _Seen(
                source.features(frozen.train, layers),
                source.features(frozen.validation, layers),
                cast("ReadsPassages", source).passages(said, layers),
                frozen.labels[:, 0],
            )
            for i, point in enumerate(grid):
                if point.layers == layers:
                    found[i] = _fit(frozen, point, seen)
        return [found[i] for i in range(len(grid))]

    @staticmethod
    def portfolio() -> Sequence[Mapping[str, Any]]:
        # Which layer says most of what a text is about differs between encoders.
        # On reports of weaknesses "within" was far ahead, and the strength made little difference.
        spaces: list[dict[str, Any]] = [
            {"metric": "within", "shrinkage": 0.1},
            {"metric": "within", "shrinkage": 0.3},
            {"metric": "within", "shrinkage": 0.03},
            {"metric": "whitened", "shrinkage": 0.5},
            {"metric": "centred"},
        ]
        return [{"layers": [layer], **each} for layer in (-1, -2) for each in spaces]

    @staticmethod
    def space() -> Mapping[str, Dimension]:
        return {"shrinkage": Real(0.02, 0.95)}


def _fit(frozen: Frozen, point: Point, seen: _Seen) -> ClosedFit:
    how = point.method
    middle, project = fit_space(
        (seen.train, seen.documents), seen.labels, how.metric, how.shrinkage
    )
    if project is not None and how.dimensions:
        project = narrowed(project, (seen.train, seen.documents), how.dimensions)

    def embed(features: Floats) -> Floats:
        moved = features - middle
        return _unit(moved if project is None else moved @ project)

    vectors = embed(seen.documents)
    count = len(seen.train)
    scored = np.unique(np.linspace(0, count - 1, min(count, _SCORED)).astype(int))
    train = np.full((count, len(vectors)), np.nan, np.float32)
    train[scored] = similar(embed(seen.train[scored]), vectors)

    def build(encoder: PreTrainedModel) -> nn.Module:
        width = 0 if project is None else project.shape[1]
        shape = {"kind": "index", "width": width}
        model = frozen.build(encoder, len(vectors), point.layers, shape)
        head: nn.Module = model.get_submodule("head")
        with torch.no_grad():
            head.get_buffer("centre").copy_(torch.from_numpy(middle))
            head.get_buffer("vectors").copy_(torch.from_numpy(vectors))
            if project is not None:
                head.get_buffer("project").copy_(torch.from_numpy(project))
        return model

    return ClosedFit(similar(embed(seen.held), vectors), train, build)


def _unit(rows: Floats) -> Floats:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)

"""Frozen backbone: the documents whose vectors lie nearest, in a space fitted in closed form.

logits_k = 20 · cos(P (x − μ), P (d_k − μ)),   x and d from the same encoder, μ their mean

    metric: centred    P = 1. What all texts share hides what tells them apart: Mu and Viswanath
                      2018, https://arxiv.org/abs/1702.01417
    metric: whitened   P = Σ^−½, Σ the covariance of texts and documents: Su et al. 2021,
                      https://arxiv.org/abs/2103.15316
    metric: within     P = Σ^−½, Σ the covariance of x − d over rows and their documents. Directions
                      in which a text differs from its own answer count less: Hatch et al. 2006,
                      doi:10.21437/Interspeech.2006-183, for speakers and their recordings

Σ is drawn towards a multiple of the identity by `shrinkage`, in that share: Ledoit and Wolf 2004,
doi:10.1016/S0047-259X(03)00096-4. Rows say nothing but which document is theirs, so documents that
no row names find their place too, and so do documents that come later.
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
from sartor.tune.api import METHODS, Dimension, Reads, Real, is_head, open_tensors
from sartor.tune.frozen import ClosedFit, Frozen, Point
from sartor.tune.teaching import ReadsPassages

Doubles = NDArray[np.float64]
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

    metric: Literal["centred", "whitened", "within"] = "centred"
    """What P is: see above."""
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
        spaces: list[dict[str, Any]] = [{"metric": "centred"}]
        spaces += [
            {"metric": metric, "shrinkage": share}
            for metric in ("whitened", "within")
            for share in (0.1, 0.5)
        ]
        return [{"layers": [layer], **each} for layer in (-1, -2, -3) for each in spaces]

    @staticmethod
    def space() -> Mapping[str, Dimension]:
        return {"shrinkage": Real(0.02, 0.95)}


def _space(seen: _Seen, method: Nearest) -> tuple[Floats, Floats | None]:
    """(μ, P as (features, width) or None for the identity)."""
    every = np.concatenate([seen.train, seen.documents]).astype(np.float64)
    middle = every.mean(0)
    if method.metric == "centred":
        return middle.astype(np.float32), None
    apart = every - middle
    if method.metric == "within":
        rows, column = np.nonzero(seen.labels >= 0)
        named = seen.labels[rows, column]
        apart = seen.train[rows].astype(np.float64) - seen.documents[named]
        # A shift that all texts have against all documents is no matter of one row.
        apart -= apart.mean(0) if len(apart) else 0.0
    keep = method.dimensions
    return middle.astype(np.float32), _whitening(apart, every - middle, method.shrinkage, keep)


def _whitening(apart: Doubles, every: Doubles, shrinkage: float, keep: int) -> Floats:
    """(features, width) Σ^−½, or of it the directions in which `every` differs most.

    Args:
        apart: (n, features) whose covariance is Σ.
        every: (m, features), of mean 0.
        shrinkage: Share of the identity.
        keep: Directions; 0 for all.
    """
    size = every.shape[1]
    spread = apart.T @ apart / max(len(apart), 1)
    level = max(float(np.trace(spread)) / size, 1e-12)
    values, vectors = np.linalg.eigh((1 - shrinkage) * spread + shrinkage * level * np.eye(size))
    root = (vectors / np.sqrt(values)) @ vectors.T
    if 0 < keep < size:
        moved = every @ root
        _, _, axes = np.linalg.svd(moved.T @ moved)
        root = root @ axes[:keep].T
    return root.astype(np.float32)


def _fit(frozen: Frozen, point: Point, seen: _Seen) -> ClosedFit:
    middle, project = _space(seen, point.method)

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

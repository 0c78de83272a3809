"""Static: one vector a token, no network; a text is the mean of its tokens.

x = P · mean_t s(w_t) · v(w_t),   s(w) = a / (a + p(w)),   head(x) by logistic regression

v from the backbone's own table of words, or distilled: each token alone through the backbone, in
the manner of model2vec. s is SIF's weight (Arora et al. 2017, https://openreview.net/pdf?id=SyK00v5xx);
P drops the largest principal directions of the training texts, or keeps no more than some.

All of it is linear, and folds into one number for each token and class: a bundle of a few megabytes
that answers in microseconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import nn
from transformers import PreTrainedModel

from sartor.core.protocols import Floats
from sartor.core.texts import parts_of
from sartor.core.types import Backbone
from sartor.models.loading import load_encoder, tokenizer_of
from sartor.models.packed import Packed, tokenise
from sartor.tasks._encoder.static import StaticClassifier
from sartor.tasks.text_pair.comparing import compared
from sartor.tasks.text_pair.static import StaticPairClassifier
from sartor.tune.api import METHODS, Choice, Dimension, Reads, Real, is_head, open_tensors
from sartor.tune.frozen import ClosedFit, Frozen, Point
from sartor.tune.heads import HeadData, HeadFit, HeadSetting, fit_heads

_PER_TOKEN = 16
"""Weights that a token counts as in the estimate of the bundle's size."""
_MARKS = ("##", "▁", "Ġ")
"""What tokenizers put before a piece that goes on, or begins, a word."""


@METHODS.add
@dataclass(frozen=True, slots=True)
class Static:
    """Fits a linear head on the mean of static token vectors, and ships a table of scores."""

    reads: ClassVar[Reads] = "activations"
    rung: ClassVar[int | None] = 5

    vectors: Literal["table", "distilled"] = "table"
    """The backbone's table of words, at no cost; or the mean of `layers` of each token that occurs
    in the training texts, encoded alone and cached."""
    strength: Annotated[float, Gt(0)] = 0.01
    """Inverse strength of the L2 penalty on standardised features; smaller is stricter."""
    sif: Annotated[float, Ge(0)] = 0.0
    """a of SIF's weight, e.g. 0.001: frequent tokens weigh less; 0 weighs all alike."""
    remove: Annotated[int, Ge(0)] = 0
    """Largest principal directions to drop."""
    keep: Annotated[int, Ge(0)] = 0
    """Principal directions to keep after that; 0 for all."""

    @property
    def closed(self) -> bool:
        return True

    def attach(self, model: nn.Module) -> None:
        open_tensors(model, is_head)

    def fold(self, model: nn.Module) -> None:
        model.requires_grad_(True)

    def rate(self, name: str, depth: int) -> float:
        # Only the laws descend on it; the tuner fits it in closed form.
        return 1e-2

    @staticmethod
    def shipped(backbone: Backbone) -> Backbone:
        # Its vocabulary is not known before the tokenizer is read, but is no more than this; a
        # token costs its letters in the tokenizer and a number a class.
        vocabulary = backbone.parameters // max(backbone.width, 1)
        return replace(backbone, parameters=_PER_TOKEN * vocabulary, layers=0)

    @staticmethod
    def fit_all(frozen: Frozen, grid: Sequence[Point]) -> list[ClosedFit]:
        found: dict[int, ClosedFit] = {}
        words = _Words.of(frozen)
        groups: dict[tuple[Any, ...], list[int]] = {}
        for i, point in enumerate(grid):
            method: Static = point.method
            layers = point.layers if method.vectors == "distilled" else ()
            key = (method.vectors, layers, method.sif, method.remove, method.keep)
            groups.setdefault(key, []).append(i)
        for places in groups.values():
            points = [grid[i] for i in places]
            for i, fit in zip(places, _fit_alike(frozen, words, points), strict=True):
                found[i] = fit
        return [found[i] for i in range(len(grid))]

    @staticmethod
    def portfolio() -> Sequence[Mapping[str, Any]]:
        # Not SIF, nor fewer directions: a fitted head does better by itself on the three examples.
        return [{"strength": c} for c in (0.01, 0.003, 0.03, 0.1, 1.0)]

    @staticmethod
    def pair_obstacle(outputs: Sequence[str]) -> str:
        return ""

    @staticmethod
    def pair_portfolio() -> Sequence[Mapping[str, Any]]:
        strengths = (0.01, 0.001, 0.1)
        return [{"strength": c, "symmetric": s} for c in strengths for s in (False, True)]

    @staticmethod
    def space() -> Mapping[str, Dimension]:
        return {
            "strength": Real(1e-4, 10.0, log=True),
            "vectors": Choice(("table", "distilled")),
            "sif": Choice((0.0, 1e-2, 1e-3)),
        }


@dataclass(frozen=True, slots=True)
class _Words:
    """The rows as tokens.

    Args:
        train: Token ids of each training text; of pairs those of the first texts, then those of the
            second.
        validation: The same of the validation texts.
        tokenizer: That read them.
        counts: (vocabulary,) occurrences in the training texts.
        special: (vocabulary,) whether every text has the token, such as [CLS].
    """

    train: Sequence[Packed]
    validation: Sequence[Packed]
    tokenizer: Tokenizer
    counts: NDArray[np.int64]
    special: NDArray[np.bool_]

    @staticmethod
    def of(frozen: Frozen) -> "_Words":
        tokenizer = _reader(frozen.backbone, frozen.source.max_length)
        prefix = frozen.backbone.prefix
        train, held = (
            [tokenise(tokenizer, side, prefix) for side in zip(*map(parts_of, texts), strict=True)]
            for texts in (frozen.train, frozen.validation)
        )
        size = tokenizer.get_vocab_size()
        counts = np.sum([np.bincount(side.flat, minlength=size) for side in train], axis=0)
        special = np.isin(np.arange(size), tokenizer.encode("").ids)
        return _Words(train, held, tokenizer, counts, special)


@lru_cache(maxsize=2)
def _reader(backbone: Backbone, longest: int) -> Tokenizer:
    """Not to be changed: folds and trials share it, since one of many languages takes long to
    open."""
    tokenizer = tokenizer_of(backbone)
    tokenizer.enable_truncation(longest)
    return tokenizer


def _fit_alike(frozen: Frozen, words: _Words, points: Sequence[Point]) -> list[ClosedFit]:
    """Fit points that differ in strength and class weights only."""
    method: Static = points[0].method
    vectors, counted = _vectors(frozen, words, points[0])
    if method.sif:
        shares = words.counts / max(int(words.counts.sum()), 1)
        vectors = vectors * (method.sif / (method.sif + shares)).astype(np.float32)[:, None]
    train, held = (
        [_mean(vectors, counted, side) for side in rows] for rows in (words.train, words.validation)
    )
    if method.remove or method.keep:
        directions = _directions(train[0] if len(train) == 1 else np.concatenate(train), method)
        vectors = vectors @ directions
        train, held = ([side @ directions for side in rows] for rows in (train, held))
    symmetric = bool(getattr(frozen.rows, "symmetric", False))

    def features(sides: Sequence[Floats]) -> Floats:
        if len(sides) == 1:
            return sides[0]
        one, other = sides
        return np.concatenate(compared(one, other, symmetric), axis=1)

    data = HeadData(
        train=lambda _: features(train),
        validation=lambda _: features(held),
        labels=frozen.labels,
        outputs=len(frozen.outputs),
    )
    grid = [HeadSetting((0,), p.method.strength, p.weights) for p in points]
    table, fits = (vectors, counted), fit_heads(data, grid)
    if frozen.pairs:
        return [_closed_pair(fit, table, symmetric) for fit in fits]
    return [_closed(fit, table) for fit in fits]


def _vectors(frozen: Frozen, words: _Words, point: Point) -> tuple[Floats, NDArray[np.bool_]]:
    """(vocabulary, width) and which tokens have a vector."""
    if point.method.vectors == "table":
        encoder = load_encoder(frozen.backbone, 0)
        embedding: Any = encoder.get_input_embeddings()
        # The tokenizer may hold words that the weights lack, and the weights padding.
        size = len(words.counts)
        table: Floats = embedding.weight.detach().numpy()[:size]
        known = (np.arange(size) < len(table)) & ~words.special
        if lacking := size - len(table):
            table = np.concatenate([table, np.zeros((lacking, table.shape[1]), np.float32)])
        return table, known
    known = (words.counts > 0) & ~words.special
    alone = [_bare(words.tokenizer.id_to_token(i) or "") for i in np.flatnonzero(known).tolist()]
    found = frozen.source.features(alone, point.layers)
    vectors = np.zeros((len(known), found.shape[1] // len(point.layers)), np.float32)
    vectors[known] = found.reshape(len(alone), len(point.layers), -1).mean(1)
    return vectors, known


def _bare(name: str) -> str:
    for mark in _MARKS:
        name = name.removeprefix(mark)
    return name


def _mean(vectors: Floats, counted: NDArray[np.bool_], rows: Packed) -> Floats:
    """(rows, width); zero for a text none of whose tokens counts."""
    found = np.zeros((len(rows), vectors.shape[1]), np.float32)
    for place, ids in zip(found, rows, strict=True):
        kept = ids[counted[ids]]
        if len(kept):
            place[:] = vectors[kept].mean(0)
    return found


def _directions(features: Floats, method: Static) -> Floats:
    """(width, directions): what of the features is read."""
    width = features.shape[1]
    centred = features - features.mean(0)
    _, basis = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    falling = basis[:, ::-1].astype(np.float32)
    end = method.remove + method.keep if method.keep else width
    return np.ascontiguousarray(falling[:, min(method.remove, width - 1) : end])


def _closed(fit: HeadFit, of: tuple[Floats, NDArray[np.bool_]]) -> ClosedFit:
    vectors, counted = of

    def build(encoder: PreTrainedModel) -> nn.Module:
        model = StaticClassifier(len(vectors), len(fit.bias))
        with torch.no_grad():
            model.scores.copy_(torch.from_numpy(vectors @ fit.weight.T))
            model.bias.copy_(torch.from_numpy(fit.bias))
            model.counted.copy_(torch.from_numpy(counted))
        return model

    return ClosedFit(fit.validation_logits, fit.train_logits, build)


def _closed_pair(fit: HeadFit, of: tuple[Floats, NDArray[np.bool_]], symmetric: bool) -> ClosedFit:
    vectors, counted = of

    def build(encoder: PreTrainedModel) -> nn.Module:
        vocabulary, width = vectors.shape
        model = StaticPairClassifier(vocabulary, width, len(fit.bias), symmetric)
        with torch.no_grad():
            model.table.copy_(torch.from_numpy(np.ascontiguousarray(vectors)))
            model.head.weight.copy_(torch.from_numpy(fit.weight))
            model.head.bias.copy_(torch.from_numpy(fit.bias))
            model.counted.copy_(torch.from_numpy(counted))
        return model

    return ClosedFit(fit.validation_logits, fit.train_logits, build)

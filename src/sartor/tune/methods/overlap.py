"""Overlap: the sentence of a context with the rarest words of the question; nothing is trained.

See `tasks.question_answering.overlap`. What is counted is how many contexts of the training rows
hold each token:  idf(t) = ln((N + 1) / (n_t + ½))
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import nn

from sartor.core.protocols import Floats
from sartor.core.texts import parts_of
from sartor.core.types import Backbone
from sartor.models.by_piece import tokenise_by_piece
from sartor.models.loading import tokenizer_of
from sartor.models.packed import tokenise
from sartor.tasks.question_answering.overlap import Overlap as OverlapModel
from sartor.tune.api import METHODS, Dimension, Reads, is_head, open_tensors
from sartor.tune.batching import Tokens
from sartor.tune.frozen import ClosedFit, Frozen, Point
from sartor.tune.scoring import score, score_sample

_SCORED = 512
"""Training rows that are scored: enough to see a gap."""
_CLOSES = frozenset(".!?。！？；;…")
_MARKS = "▁#Ġ"
"""What tokenizers put before a piece that goes on, or begins, a word."""


@METHODS.add
@dataclass(frozen=True, slots=True)
class Overlap:
    """Answers with the sentence that shares the most with the question."""

    reads: ClassVar[Reads] = "activations"
    rung: ClassVar[int | None] = 2
    locates: ClassVar[Literal[True]] = True

    def attach(self, model: nn.Module) -> None:
        open_tensors(model, is_head)

    def fold(self, model: nn.Module) -> None:
        model.requires_grad_(True)

    def rate(self, name: str, depth: int) -> float:
        # Only the laws descend on it; the tuner counts words.
        return 1e-2

    @staticmethod
    def shipped(backbone: Backbone) -> Backbone:
        # Of the vocabulary, which is no more than this, a number a token.
        return replace(backbone, parameters=backbone.parameters // max(backbone.width, 1), layers=0)

    @staticmethod
    def fit_all(frozen: Frozen, grid: Sequence[Point]) -> list[ClosedFit]:
        tokenizer = tokenizer_of(frozen.backbone)
        tokenizer.enable_truncation(frozen.source.max_length)
        model = _counted(tokenizer, [parts_of(text)[-1] for text in frozen.train]).eval()
        prefix, seed = frozen.backbone.prefix, grid[0].seed

        def tokens(texts: Sequence[Any]) -> Tokens:
            ids, marks = tokenise_by_piece(tokenizer, texts, prefix)
            return Tokens(ids, 0, marks)

        held: Floats = score(model, tokens(frozen.validation))
        train = score_sample(model, tokens(frozen.train), (seed, _SCORED), bf16=False)
        return [ClosedFit(held, train, made=(model, tokenizer)) for _ in grid]

    @staticmethod
    def portfolio() -> Sequence[Mapping[str, Any]]:
        return [{}]

    @staticmethod
    def space() -> Mapping[str, Dimension]:
        return {}


def _counted(tokenizer: Tokenizer, contexts: Sequence[str]) -> OverlapModel:
    names = {place: name for name, place in tokenizer.get_vocab().items()}
    model = OverlapModel(max(names, default=0) + 1)
    having = np.zeros(len(model.weight), np.int64)
    distinct = list(dict.fromkeys(contexts))
    for ids in tokenise(tokenizer, distinct):
        having[np.unique(ids)] += 1
    weight = np.log((len(distinct) + 1) / (having + 0.5)).clip(min=0.0)
    for place, added in tokenizer.get_added_tokens_decoder().items():
        if added.special:
            weight[place] = 0.0
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(weight))
        for place, name in names.items():
            model.closes[place] = float(name.lstrip(_MARKS) in _CLOSES and name.strip(_MARKS) != "")
    return model

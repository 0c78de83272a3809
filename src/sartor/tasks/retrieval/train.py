"""The training half of retrieval: one encoder reads texts and documents, each alone.

A row's loss tells its documents from those of the other rows of its batch, and from some that the
untuned encoder took for them (mined hard negatives):

    L = −log Σ_{k right} e^(s · q·d_k) / Σ_k e^(s · q·d_k),   k over the documents of the batch

q and d of length 1, s learnt. A document stands in a batch once, however many of its rows do, and
all documents that a row names count as right: so none is held against the row that it answers.

van den Oord et al. 2018, https://arxiv.org/abs/1807.03748; Karpukhin et al. 2020, for negatives of
the batch and mined ones, https://arxiv.org/abs/2004.04906
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from annotated_types import Ge, Le, Len
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import PreTrainedModel

from sartor.core.protocols import Floats
from sartor.tasks import TRAINERS
from sartor.tasks._encoder.model import TextClassifier, load
from sartor.tasks._encoder.one_text import OneText
from sartor.tasks._encoder.reading import Passages, Reading
from sartor.tasks.retrieval.space import Metric, fit_space

__all__ = ["Retrieval", "Retriever", "load", "served"]

_ROWS = 32
"""Rows whose negatives are mined at a time."""
_TOGETHER = 24
"""Documents of nearly one length that a step reads at once: half of a batch of all is padding."""
_SHRINKAGE = 0.1
"""Of the space that tuning starts in."""
_NONE = -1
"""In a row of labels: no document."""


class Retriever(Reading, TextClassifier):
    """A text classifier whose outputs are documents."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.answer(self.features(input_ids, attention_mask))


@dataclass(frozen=True, slots=True)
class InBatch:
    """The loss above, for `tune.api.Objective`.

    Args:
        passages: The documents, as a step reads them.
        lengths: (documents,) tokens of each.
        scale: Logarithm of s, a parameter of the model's.
    """

    passages: Passages
    lengths: NDArray[np.int64]
    scale: Tensor

    def loss(self, model: nn.Module, inputs: tuple[Tensor, ...], labels: Tensor) -> Tensor:
        """Averaged over the rows that have a document; 0 where none has.

        Args:
            model: A `Reading` in training mode, which may be wrapped.
            inputs: What it reads of the texts, (batch, tokens, …).
            labels: (batch, …) from `Retrieval.lesson`: documents that are right, and −2 − k for
                document k that is a negative; −1 for nothing.
        """
        right, wrong = labels.clamp(min=_NONE), (-2 - labels).clamp(min=_NONE)
        named = torch.cat([right, wrong], 1).unique()
        columns = named[named >= 0]
        queries = model(*inputs).float()
        if not len(columns):
            return queries.sum() * 0.0
        logits = self.scale.exp() * (queries @ self._read(model, columns).T)
        told = (right.unsqueeze(2) == columns).any(1)
        rows = told.any(1)
        if not bool(rows.any()):
            return logits.sum() * 0.0
        logits, told = logits[rows], told[rows]
        best = logits.masked_fill(~told, float("-inf")).logsumexp(1)
        return (logits.logsumexp(1) - best).mean()

    def _read(self, model: nn.Module, documents: Tensor) -> Tensor:
        """(documents, width), those of nearly one length read together."""
        rows = documents.cpu().numpy()
        order = np.argsort(self.lengths[rows], kind="stable")
        parts: list[Tensor] = []
        for start in range(0, len(order), _TOGETHER):
            batch = self.passages.batch(rows[order[start : start + _TOGETHER]])
            parts.append(model(*(part.to(documents.device) for part in batch)).float())
        return torch.cat(parts)[torch.from_numpy(np.argsort(order)).to(documents.device)]


@TRAINERS.add
@dataclass(frozen=True, slots=True)
class Retrieval(OneText):
    """What the task adds to every method's settings."""

    focal: ClassVar[float] = 0.0

    layers: Annotated[tuple[int, ...], Len(1)] = (-1,)
    """Hidden states that are read, concatenated; negative counts from the top, 0 is the embedding
    layer. Layers above the highest one read are not run."""
    start: Metric = "within"
    """Space that texts and documents are compared in while the encoder is tuned: fitted to what the
    untuned one makes of them, then fixed. For methods that are descended on."""
    negatives: Annotated[int, Ge(0), Le(16)] = 2
    """Hard negatives a row: the documents that the untuned encoder ranks highest among those that
    are wrong. For methods that are descended on."""

    @property
    def told_by(self) -> int:
        """Documents that each row is told by: its own, and the negatives."""
        return 1 + self.negatives

    def weights(self, truth: NDArray[np.int64], outputs: int) -> NDArray[np.float32]:
        """(outputs,) ones: a document is no class that could be rare."""
        return np.ones(outputs, np.float32)

    def build(
        self, encoder: PreTrainedModel, outputs: int, tokenizer: Tokenizer | None = None
    ) -> Retriever:
        """An encoder that answers with documents, none of which it has read yet."""
        layers = self.resolve(encoder.config.num_hidden_layers)
        width = encoder.config.hidden_size * len(layers)
        return Retriever(encoder, outputs, layers, {"kind": "index", "width": width})

    def loss(self, logits: Tensor, labels: Tensor, weights: Tensor, smoothing: float) -> Tensor:
        """−log of the share of the right documents among all, averaged over rows that have one.

        Args:
            logits: (batch, documents).
            labels: (batch, 1, most) right documents, then −1.
            weights: (documents,), all 1.
            smoothing: Share of the target spread over all documents.
        """
        shares, labels = logits.float().log_softmax(-1), labels[:, 0]
        there = labels >= 0
        rows = there.any(1)
        if not bool(rows.any()):
            return shares.sum() * 0.0
        named = shares.gather(1, labels.clamp(min=0)).masked_fill(~there, float("-inf"))
        right = named[rows].logsumexp(1)
        return -((1 - smoothing) * right + smoothing * shares[rows].mean(1)).mean()

    def lesson(
        self,
        model: Reading,
        passages: tuple[Passages, Passages],
        seen: tuple[Floats, Floats],
        truth: NDArray[np.int64],
    ) -> tuple[NDArray[np.int64], InBatch]:
        """What the rows are taught by: labels with their negatives, and the loss that reads them.

        Args:
            model: What is trained; it keeps the documents, to read them while it is tuned.
            passages: The documents as a step reads them, and in full.
            seen: What the untuned encoder makes of the rows (rows, features) and of the documents
                (documents, features).
            truth: (rows, 1, most), from the task.
        """
        right = truth[:, 0]
        middle, project = fit_space(seen, right, self.start, _SHRINKAGE)
        project = np.eye(len(middle), dtype=np.float32) if project is None else project
        with torch.no_grad():
            model.head.centre.copy_(torch.from_numpy(middle))
            model.head.project.copy_(torch.from_numpy(project))
        learnt, model.passages = passages
        model.stale = True
        rows, documents = (np.asarray((x - middle) @ project, np.float32) for x in seen)
        wrong = mined(rows, documents, right, self.negatives)
        labels = np.concatenate([right, np.where(wrong >= 0, -2 - wrong, _NONE)], 1)
        return labels, InBatch(learnt, learnt.lengths(), model.head.log_scale)


def mined(
    rows: Floats, documents: Floats, truth: NDArray[np.int64], count: int
) -> NDArray[np.int64]:
    """(rows, count) the nearest wrong documents, nearest first; −1 where there are not so many.

    Args:
        rows: (rows, features), in the space that they are compared in.
        documents: (documents, features).
        truth: (rows, most) right documents, then −1.
        count: Negatives a row.
    """
    found = np.full((len(rows), count), _NONE, np.int64)
    if not count:
        return found
    vectors = _unit(documents)
    for start in range(0, len(rows), _ROWS):
        part, right = rows[start : start + _ROWS], truth[start : start + _ROWS]
        near = _unit(part) @ vectors.T
        at, column = np.nonzero(right >= 0)
        near[at, right[at, column]] = -np.inf
        most = min(count, near.shape[1])
        order = np.argsort(-near, axis=1, kind="stable")[:, :most]
        there = np.isfinite(np.take_along_axis(near, order, 1))
        found[start : start + _ROWS, :most] = np.where(there, order, _NONE)
    return found


class _Embedding(nn.Module):
    """Texts to vectors: what is exported, since the documents lie beside the graph."""

    def __init__(self, model: TextClassifier) -> None:
        super().__init__()
        self.model: Any = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.model.head.embed(self.model.features(input_ids, attention_mask))


def served(model: TextClassifier) -> nn.Module:
    """The part of a loaded model that its graph holds."""
    return _Embedding(model).eval()


def _unit(rows: Floats) -> Floats:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)

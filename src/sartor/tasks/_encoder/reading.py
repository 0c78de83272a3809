"""Models whose outputs are documents, which they read themselves while they are tuned."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

_ROWS = 32
"""Documents that are encoded at a time."""


class Passages(Protocol):
    """Documents as a model reads them: as token ids, or as states of a frozen layer."""

    def lengths(self) -> NDArray[np.int64]:
        """(documents,) tokens."""
        ...

    def batch(self, rows: NDArray[np.int64]) -> tuple[Tensor, ...]:
        """What `features` takes of them, (rows, tokens, …); the last is the mask."""
        ...


class Reading(nn.Module):
    """What a classifier, or the upper part of one, becomes where its outputs are documents.

    In training mode it answers with vectors, not with logits: see `tasks.retrieval.train.InBatch`.
    Whenever it has been trained, the documents are read again before it answers.
    """

    passages: Passages | None = None
    """The documents; None once they are all told, or where there is nothing to tune."""
    stale = False
    head: Any
    features: Callable[..., Tensor]

    def answer(self, features: Tensor) -> Tensor:
        """Logits (batch, documents); in training mode vectors (batch, width) of length 1."""
        if self.training:
            return self.head.embed(features)
        if self.stale and self.passages is not None:
            self.read_documents()
        return self.head(features)

    def train(self, mode: bool = True) -> "Reading":
        self.stale = self.stale or mode
        return super().train(mode)

    @torch.no_grad()
    def read_documents(self) -> None:
        """Set the documents' vectors to what the encoder makes of them now; in eval mode."""
        assert self.passages is not None, "they are given before training"
        order = np.argsort(self.passages.lengths(), kind="stable")
        device = self.head.vectors.device
        for start in range(0, len(order), _ROWS):
            rows = order[start : start + _ROWS]
            found = self.head.embed(
                self.features(*(part.to(device) for part in self.passages.batch(rows)))
            )
            self.head.vectors[torch.from_numpy(rows).to(device)] = found
        self.stale = False

"""Answers about pieces as one-label problems: every piece that is read is a row of its own.

So a head on cached states is fitted as one on pooled activations, by the same solver. Where there
are very many pieces, some of the rows are enough to learn from: they are drawn whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sartor.core.likelihood import Truth
from sartor.core.protocols import Floats

MOST = 60_000
"""Pieces beyond which a head no longer gets better by more of the same kind of rows."""


@runtime_checkable
class ReadsPieces(Protocol):
    """What a head reads, where it answers about pieces."""

    def read(self, texts: Sequence[Any]) -> NDArray[np.int64]:
        """(texts,) pieces of each that the model reads: all but those that are cut off."""
        ...


@dataclass(frozen=True, slots=True)
class Unrolled:
    """Rows as their pieces.

    Args:
        rows: (chosen,) which rows are unrolled.
        read: (chosen,) pieces of each.
        truth: (rows, most pieces), of all rows.
    """

    rows: NDArray[np.intp]
    read: NDArray[np.int64]
    truth: Truth

    @staticmethod
    def of(truth: Truth, read: NDArray[np.int64], most: int | None = None) -> "Unrolled":
        """
        Args:
            truth: (rows, most pieces).
            read: (rows,) pieces of each.
            most: Pieces beyond which rows are drawn, the same each time; None takes all.
        """
        rows = np.arange(len(truth))
        if most is not None and read.sum() > most:
            order = np.random.default_rng(0).permutation(len(truth))
            rows = np.sort(order[np.cumsum(read[order]) <= most])
        return Unrolled(rows, read[rows], truth)

    @property
    def labels(self) -> NDArray[np.int64]:
        """(pieces of the chosen rows,) their classes."""
        parts = [self.truth[row, :n] for row, n in zip(self.rows, self.read, strict=True)]
        return np.concatenate(parts).astype(np.int64) if parts else np.zeros(0, np.int64)

    def rolled(self, logits: Floats) -> Floats:
        """(rows, most pieces, outputs): 0 where no piece was read, NaN in rows not chosen.

        Args:
            logits: (pieces of the chosen rows, outputs).
        """
        found = np.full((*self.truth.shape, logits.shape[1]), np.nan, np.float32)
        found[self.rows] = 0.0
        ends = np.cumsum(self.read)
        for row, n, end in zip(self.rows, self.read, ends, strict=True):
            found[row, :n] = logits[end - n : end]
        return found

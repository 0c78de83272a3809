"""Token-budget batches bucketed by length: most of the speed of training on skewed lengths.

Rows are shuffled, cut into chunks of several batches, sorted by length inside a chunk, and packed
until a batch would hold more padded tokens than the budget; then the batches are shuffled. Rows of
one batch have nearly one length, and the order still differs in every epoch.

The plan of an epoch is a pure function of lengths, budget, seed and epoch: a resumed run recomputes
it and skips. Padding without it: up to 89 % of tokens, https://arxiv.org/abs/2107.02027
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sartor.models.packed import Ids

_CHUNK_BATCHES = 32
"""Batches a chunk holds: more makes lengths more equal, fewer mixes rows better."""
_ROUND = 8
"""Batches are padded to a multiple of this: fewer distinct shapes for the matrix kernels."""
_ROWS = 4096
"""Rows whose ids are gone through at a time."""


class Inputs(Protocol):
    """Rows that a model reads; `Tokens`, or cached states of a frozen layer."""

    def lengths(self) -> NDArray[np.int64]:
        """(rows,) tokens of each row, without padding."""
        ...

    def batch(self, rows: NDArray[np.int64]) -> tuple[Tensor, ...]:
        """What the model's `forward` takes of these rows, in its order; the last is the mask,
        (rows, tokens), 1 at real tokens and 0 at padding."""
        ...


@dataclass(frozen=True, slots=True)
class Tokens:
    """Rows as token ids, without padding.

    Args:
        ids: One sequence a row; `Packed` where there are many.
        pad: Id of the padding token.
        marks: For answers about pieces: how many are read at each token.
    """

    ids: Sequence[Sequence[int] | Ids]
    pad: int
    marks: Sequence[Sequence[int] | Ids] | None = None

    def lengths(self) -> NDArray[np.int64]:
        return np.fromiter((len(row) for row in self.ids), np.int64, count=len(self.ids))

    def vocabulary(self) -> Tensor:
        """(ids,) every id that a batch may hold, ascending, the padding included."""
        found = np.array([self.pad], np.int64)
        for start in range(0, len(self.ids), _ROWS):
            some = np.concatenate([found, *self.ids[start : start + _ROWS]])
            found = np.unique(some.astype(np.int64))
        return torch.from_numpy(found)

    def batch(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Token ids and attention mask of the rows, (rows, longest rounded up), int64; where there
        are marks the mask is as `tasks._encoder.by_piece` has it."""
        chosen = [self.ids[row] for row in rows]
        width = rounded(max(len(ids) for ids in chosen))
        ids = np.full((len(chosen), width), self.pad, dtype=np.int64)
        mask = np.zeros((len(chosen), width), dtype=np.int64)
        for i, row in enumerate(chosen):
            ids[i, : len(row)] = row
            mask[i, : len(row)] = 1
        if self.marks is not None:
            add_marks(mask, self.marks, rows)
        return torch.from_numpy(ids), torch.from_numpy(mask)


def add_marks(
    mask: NDArray[np.int64], marks: Sequence[Sequence[int] | Ids], rows: NDArray[np.int64]
) -> None:
    """Add to each token of a mask, in place, how many pieces are read there.

    Args:
        mask: (rows of the batch, tokens).
        marks: Of all rows.
        rows: Which of them the batch holds.
    """
    for i, row in enumerate(rows):
        found = np.asarray(marks[row], np.int64)
        mask[i, : len(found)] += found


@dataclass(frozen=True, slots=True)
class Budget:
    """How much a batch may hold.

    Args:
        tokens: Padded tokens; a single longer row still forms a batch of its own.
        rows: Rows.
    """

    tokens: int
    rows: int


def plan_epoch(
    lengths: NDArray[np.int64], budget: Budget, *, seed: int, epoch: int
) -> list[NDArray[np.int64]]:
    """Row indices of each batch of an epoch; every row occurs exactly once."""
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(lengths))
    mean = max(float(lengths.mean()), 1.0)
    chunk = max(1, int(_CHUNK_BATCHES * min(budget.rows, budget.tokens / mean)))
    batches: list[NDArray[np.int64]] = []
    for start in range(0, len(order), chunk):
        piece = order[start : start + chunk]
        batches.extend(_pack(piece[np.argsort(lengths[piece], kind="stable")], lengths, budget))
    return [batches[i] for i in random.permutation(len(batches))]


def plan_in_order(lengths: NDArray[np.int64], budget: Budget) -> list[NDArray[np.int64]]:
    """Batches for scoring: all rows, shortest first."""
    return _pack(np.argsort(lengths, kind="stable"), lengths, budget)


def _pack(
    ordered: NDArray[np.int64], lengths: NDArray[np.int64], budget: Budget
) -> list[NDArray[np.int64]]:
    batches: list[NDArray[np.int64]] = []
    start = 0
    for end in range(1, len(ordered) + 1):
        # Ascending lengths: the newest row is the longest, and sets the padding of all.
        rows = end - start
        full = rows > budget.rows or rows * rounded(int(lengths[ordered[end - 1]])) > budget.tokens
        if full and rows > 1:
            batches.append(ordered[start : end - 1])
            start = end - 1
    if start < len(ordered):
        batches.append(ordered[start:])
    return batches


def rounded(length: int) -> int:
    """Tokens a batch is padded to when its longest row has `length`."""
    return -(-length // _ROUND) * _ROUND

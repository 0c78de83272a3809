"""Conversations end to end in one row: no padding, and none reads another.

Products with weights see every token once. Attention alone takes the row apart, a conversation to a
row of its own; conversations of a batch have nearly one length, so hardly anything is filled up,
and what is stands behind the last token, where causal attention does not look. Positions begin anew
with each conversation. So a pack's loss is that of its conversations alone, which a test holds.

Krell et al. 2021, https://arxiv.org/abs/2107.02027, and others mask a square over the whole row
instead: for rows of a thousand short tokens a third of the work is then masked away.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AttentionInterface

PACKED = "sartor_packed"
"""Name of the attention."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """A conversation with its reply, as token ids.

    Args:
        ids: All of it, without the token that closes the reply.
        begins: Where the reply begins.
        close: The token that closes it.
    """

    ids: Sequence[int]
    begins: int
    close: int

    def targets(self) -> list[int]:
        """What follows each token where that is the reply's, −1 elsewhere."""
        behind = [*self.ids[1:], self.close]
        first = self.begins - 1
        return [target if place >= first else -1 for place, target in enumerate(behind)]


@dataclass(frozen=True, slots=True)
class Lessons:
    """Conversations that are trained on; `batching.Inputs`."""

    rows: Sequence[Lesson]

    def lengths(self) -> NDArray[np.int64]:
        return np.fromiter((len(row.ids) for row in self.rows), np.int64, count=len(self.rows))

    def batch(self, rows: NDArray[np.int64]) -> tuple[Tensor, ...]:
        """Of T tokens in R conversations, of which the longest has L.

        Returns:
            (1, T) ids; (1, T) positions; (T,) targets, −1 where none; (T,) number of the
            conversation; (R, L) places of its tokens, 0 behind them; (1, T) mask, all 1.
        """
        chosen = [self.rows[row] for row in rows.tolist()]
        lengths = [len(row.ids) for row in chosen]
        starts = np.cumsum([0, *lengths[:-1]])
        ids = np.concatenate([np.asarray(row.ids, np.int64) for row in chosen])
        positions = np.concatenate([np.arange(length) for length in lengths])
        targets = np.concatenate([np.asarray(row.targets(), np.int64) for row in chosen])
        owners = np.repeat(np.arange(len(chosen)), lengths)
        places = np.zeros((len(chosen), max(lengths)), np.int64)
        for row, (start, length) in enumerate(zip(starts.tolist(), lengths, strict=True)):
            places[row, :length] = np.arange(start, start + length)
        arrays = (ids[None], positions[None], targets, owners, places, np.ones_like(ids[None]))
        return tuple(torch.from_numpy(np.ascontiguousarray(each)) for each in arrays)


def _attend_packed(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Any, **given: Any
) -> tuple[Tensor, None]:
    """Causal attention within each conversation of a row.

    Args:
        module: Unused.
        query: (1, heads, T, size).
        key: (1, fewer heads, T, size); as `value`.
        value: See `key`.
        mask: Unused: nothing stands before a token but its own conversation.
        given: places (R, L) as of `Lessons.batch`, owners and positions (T,), scaling.
    """
    places: Tensor = given["places"]
    apart = [part[0][:, places].transpose(0, 1) for part in (query, key, value)]
    found = nn.functional.scaled_dot_product_attention(
        *apart, is_causal=True, scale=given["scaling"], enable_gqa=True
    )  # (R, heads, L, size)
    together = found.transpose(1, 2)[given["owners"], given["within"]]  # (T, heads, size)
    return together.unsqueeze(0), None


AttentionInterface.register(PACKED, _attend_packed)

"""Conversations end to end in one row: no padding, none reads another, and none repeats another.

Products with weights see every token once. Attention alone takes the row apart, a conversation to a
row of its own; conversations of a batch have nearly one length, so hardly anything is filled up,
and what is stands behind the last token, where causal attention does not look. Positions begin anew
with each conversation.

What all conversations begin with, such as the system message that a template writes, stands there
once: its states are the same in all of them, so each attends to its one set of keys and values, and
their gradients add up there. Of short conversations that is half of the work. A pack's loss and
gradient are those of its conversations alone, which tests hold.

Krell et al. 2021, https://arxiv.org/abs/2107.02027, and others mask a square over the whole row
instead: for rows of a thousand short tokens a third of the work is then masked away.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
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
    """Conversations that are trained on; `batching.Inputs`.

    Args:
        rows: The conversations.
        shared: Tokens that all of them begin with, before any reply.
    """

    rows: Sequence[Lesson]
    shared: int = 0

    @staticmethod
    def of(rows: Sequence[Lesson]) -> "Lessons":
        """With as much shared as there is."""
        first = min((row.ids for row in rows), key=len, default=())
        most = min([len(first), *(row.begins - 1 for row in rows)])
        columns = zip(*(row.ids[:most] for row in rows), strict=True)
        alike = (len(set(column)) == 1 for column in columns)
        return Lessons(rows, sum(1 for _ in takewhile(bool, alike)))

    def lengths(self) -> NDArray[np.int64]:
        """(rows,) tokens of each row beyond what all share."""
        found = (len(row.ids) - self.shared for row in self.rows)
        return np.fromiter(found, np.int64, count=len(self.rows))

    def batch(self, rows: NDArray[np.int64]) -> tuple[Tensor, ...]:
        """Of R conversations with P shared tokens and T in all, of which the longest has L beyond.

        Returns:
            (1, T) ids, the shared ones first; (1, T) positions; (T,) targets, −1 where none;
            (T − P,) number of the conversation; (R, L) places of its tokens, 0 behind them; (1, …)
            ones, as many as the conversations have tokens with what they share.
        """
        chosen, shared = [self.rows[row] for row in rows.tolist()], self.shared
        lengths = [len(row.ids) - shared for row in chosen]
        starts = shared + np.cumsum([0, *lengths[:-1]])
        ids = [np.asarray(chosen[0].ids[:shared], np.int64)]
        ids += [np.asarray(row.ids[shared:], np.int64) for row in chosen]
        positions = [np.arange(shared), *(shared + np.arange(length) for length in lengths)]
        targets = [np.full(shared, -1, np.int64)]
        targets += [np.asarray(row.targets()[shared:], np.int64) for row in chosen]
        places = np.zeros((len(chosen), max(lengths)), np.int64)
        for row, (start, length) in enumerate(zip(starts.tolist(), lengths, strict=True)):
            places[row, :length] = np.arange(start, start + length)
        arrays = (
            np.concatenate(ids)[None],
            np.concatenate(positions)[None],
            np.concatenate(targets),
            np.repeat(np.arange(len(chosen)), lengths),
            places,
            np.ones((1, sum(lengths) + shared * len(chosen)), np.int64),
        )
        return tuple(torch.from_numpy(np.ascontiguousarray(each)) for each in arrays)


def _attend_packed(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Any, **given: Any
) -> tuple[Tensor, None]:
    """Causal attention within each conversation of a row, and to what all begin with.

    Args:
        module: Unused.
        query: (1, heads, T, size).
        key: (1, fewer heads, T, size); as `value`.
        value: See `key`.
        mask: Unused: nothing stands before a token but its own conversation.
        given: places (R, L) and owners (T − P,) as of `Lessons.batch`; within (T − P,), the place
            of a token in its conversation; scaling.
    """
    places: Tensor = given["places"]
    shared = query.shape[2] - len(given["owners"])
    how = {"scale": given["scaling"], "enable_gqa": True}
    attend = nn.functional.scaled_dot_product_attention
    asked, keys, values = (part[0][:, places].transpose(0, 1) for part in (query, key, value))
    if not shared:
        found = attend(asked, keys, values, is_causal=True, **how)  # (R, heads, L, size)
        together = found.transpose(1, 2)[given["owners"], given["within"]]
        return together.unsqueeze(0), None
    before = [part[:, :, :shared] for part in (query, key, value)]
    start = attend(before[0], before[1], before[2], is_causal=True, **how)  # (1, heads, P, size)
    rows, longest = places.shape
    seen = torch.ones(longest, longest, dtype=torch.bool).tril()
    seen = nn.functional.pad(seen, (shared, 0), value=True)
    found = attend(
        asked,
        torch.cat([before[1].expand(rows, -1, -1, -1), keys], 2),
        torch.cat([before[2].expand(rows, -1, -1, -1), values], 2),
        attn_mask=seen.to(query.device),
        **how,
    )
    own = found.transpose(1, 2)[given["owners"], given["within"]]  # (T − P, heads, size)
    return torch.cat([start[0].transpose(0, 1), own]).unsqueeze(0), None


AttentionInterface.register(PACKED, _attend_packed)

"""Which of two texts in one sequence a token belongs to, read off the sequence itself.

[CLS] a a [SEP] b b [SEP]
  0   0 0   0   1 1   1      a segment ends behind its separator

So a graph needs no further input for it, and whoever serves two texts cannot get it wrong.
"""

from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

_PROBE = "a"
"""A text to see by how a tokenizer joins two: any will do."""


def separator_of(tokenizer: Tokenizer, config: Any) -> int | None:
    """Id of the token behind which the second segment begins; None where there is but one segment.

    Args:
        tokenizer: Of the backbone.
        config: The encoder's: one without a second type of token tells no segments apart.
    """
    if getattr(config, "type_vocab_size", 1) < 2:
        return None
    found = tokenizer.encode(_PROBE, _PROBE)
    if 1 not in found.type_ids:
        return None
    last = found.type_ids.index(1) - 1
    return found.ids[last] if last >= 0 and found.special_tokens_mask[last] else None


def segments(input_ids: Tensor, separator: int) -> Tensor:
    """(batch, tokens) 0 up to the first separator, 1 behind it."""
    ends = (input_ids == separator).to(torch.int64)
    return (ends.cumsum(1) - ends > 0).to(torch.int64)

"""Answers about the pieces of a text: which tokens of a sequence they are read at.

The mask says it: 0 at padding, 1 at a token, 1 + n at one where n pieces are read. So a graph needs
no further input, ids and mask go through training, export and serving as ever, and a mask of 0 and
1 alone is that of a text without pieces.
"""

import torch
from torch import Tensor


def real_tokens(attention_mask: Tensor) -> Tensor:
    """(batch, tokens) 1 at real tokens and 0 at padding, of a mask that counts pieces."""
    return (attention_mask > 0).to(attention_mask.dtype)


def at_pieces(values: Tensor, attention_mask: Tensor) -> Tensor:
    """(batch, tokens, outputs): in the place of piece p what stands at its token, then 0.

    Args:
        values: (batch, tokens, outputs), of every token.
        attention_mask: (batch, tokens), see above; pieces beyond the number of tokens are left out.
    """
    upto = (attention_mask - 1).clamp(min=0).cumsum(1)  # pieces up to and with each token
    place = torch.arange(values.shape[1], device=values.device)
    # Piece p is read at the first token up to which there are more than p pieces.
    token = (upto.unsqueeze(1) <= place.view(1, -1, 1)).to(torch.int64).sum(2)
    there = (place.unsqueeze(0) < upto[:, -1:]).unsqueeze(2)
    token = torch.minimum(token, place[-1]).unsqueeze(2).expand(-1, -1, values.shape[2])
    return values.gather(1, token) * there.to(values.dtype)

"""Attention for training: plain products, pooled dropout, and few passes over the scores.

scores = q kᵀ / √w + mask,  shares = softmax(scores),  out = (shares ⊙ dropped) v

On a CPU the scores of long texts are the largest arrays of a layer, and what is done to them
element by element costs more than the products do. Its own backward pass keeps the shares alone,
works in place where it can, and stays in the type of q.

Vaswani et al. 2017, https://arxiv.org/abs/1706.03762
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Drop = Callable[[Tensor], Tensor]
"""Shares of attention to a mask of their shape and type."""


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    *,
    scale: float,
    drop: Drop | None,
) -> Tensor:
    """Mixed values, (batch, tokens, heads, head width), contiguous.

    Args:
        query: (batch, heads, tokens, head width).
        key: (batch, heads, tokens read, head width).
        value: Likewise.
        mask: (batch or 1, heads or 1, tokens or 1, tokens read), added to the scores.
        scale: Of the scores.
        drop: Where attention drops out.
    """
    batch, heads, tokens, width = query.shape
    flat = batch * heads
    if mask is not None:
        # float32's lowest number is minus infinity in bfloat16: a row of those alone is NaN.
        lowest = torch.finfo(query.dtype).min
        mask = mask.clamp(min=lowest).to(query.dtype).expand(batch, *mask.shape[1:])
    mixed = _Attention.apply(
        (query * scale).reshape(flat, tokens, width),
        key.reshape(flat, -1, width),
        value.reshape(flat, -1, value.shape[-1]),
        mask,
        drop,
    )
    return mixed.view(batch, heads, tokens, -1).transpose(1, 2).contiguous()


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, drop: Drop | None
    ) -> Tensor:
        scores = torch.bmm(query, key.transpose(1, 2))
        if mask is not None:
            scores.view(*mask.shape[:1], -1, *scores.shape[1:]).add_(mask)
        # Autocast on a GPU, unlike that on a CPU, has softmax answer in float32.
        shares = scores.softmax(-1).to(scores.dtype)
        kept = drop(shares) if drop else None
        ctx.save_for_backward(query, key, value, shares, kept)
        return torch.bmm(shares if kept is None else shares * kept, value)

    @staticmethod
    @once_differentiable
    def backward(  # type: ignore[override]
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        query, key, value, shares, kept = ctx.saved_tensors
        dropped = shares if kept is None else shares * kept
        to_value = torch.bmm(dropped.transpose(1, 2), grad)
        del dropped
        to_shares = torch.bmm(grad, value.transpose(1, 2))
        if kept is not None:
            to_shares.mul_(kept)
        # The kernel behind softmax's own backward pass: one pass where plain ones are four.
        to_scores = torch.ops.aten._softmax_backward_data(to_shares, shares, -1, shares.dtype)
        to_query = torch.bmm(to_scores, key)
        to_key = torch.bmm(to_scores.transpose(1, 2), query)
        return to_query, to_key, to_value, None, None

"""Dropout from a pool of pre-drawn masks.

Stock dropout draws one random number an activation; on a CPU that serial generator costs as much
as the matrix products. Here a mask is a random window into a pool drawn once: the same share of
activations is dropped, in a pattern that does not repeat in practice (16 million offsets), at the
price of one multiplication.

Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import eager_mask

from sartor.tune.attention import attend

_POOL = 1 << 24
_ALIGN = 16
"""Windows start at multiples of this many elements, so that vector loads stay aligned."""
_ATTENTION = "sartor_pooled_dropout"


class MaskPool:
    """Masks for every rate and dtype a model meets, and the counter that picks the windows.

    Args:
        seed: Of the pool and of the windows; equal seeds and counters give equal masks.
        size: Elements of the pool.
    """

    def __init__(self, seed: int, size: int = _POOL) -> None:
        self.seed, self.size = seed, size
        self.drawn = 0
        """Windows handed out so far: all the state there is; save it, set it, and masks repeat."""
        self._pools: dict[tuple[float, torch.dtype, torch.device], Tensor] = {}

    def mask(self, like: Tensor, p: float) -> Tensor:
        """0 with probability p, else 1 / (1 − p), in the shape and dtype of `like`."""
        pool = self._pool(p, like.dtype, like.device)
        need = like.numel()
        while need > pool.numel():
            pool = torch.cat([pool, pool])
        slots = (pool.numel() - need) // _ALIGN + 1
        start = _ALIGN * (_mix(self.seed, self.drawn) % slots)
        self.drawn += 1
        return pool[start : start + need].view(like.shape)

    def _pool(self, p: float, dtype: torch.dtype, device: torch.device) -> Tensor:
        key = (p, dtype, device)
        if key not in self._pools:
            bits = np.random.default_rng(self.seed).integers(0, 1 << 16, self.size, np.uint16)
            kept = torch.from_numpy(bits >= round(p * (1 << 16)))
            self._pools[key] = kept.to(device, dtype).mul_(1.0 / (1.0 - p))
        return self._pools[key]


class PooledDropout(nn.Module):
    """Drop-in for `nn.Dropout`, its masks taken from a shared pool."""

    def __init__(self, p: float, pool: MaskPool) -> None:
        super().__init__()
        self.p, self._pool = p, pool

    def forward(self, x: Tensor) -> Tensor:
        return x * self.masks(x) if self.drops else x

    @property
    def drops(self) -> bool:
        """Whether anything is dropped now."""
        return self.training and self.p > 0.0

    def masks(self, like: Tensor) -> Tensor:
        """The next mask, in the shape and type of `like`."""
        return self._pool.mask(like, self.p)

    def extra_repr(self) -> str:
        return f"p={self.p}"


def set_dropout(model: nn.Module, p: float) -> None:
    """Give every dropout layer of the model the rate `p`."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = p


def has_dropout(model: nn.Module) -> bool:
    """Whether any layer of the model drops activations while training."""
    layers = [m for m in model.modules() if isinstance(m, nn.Dropout | PooledDropout)]
    return any(layer.p > 0 for layer in layers)


@contextmanager
def pooled_dropout(model: nn.Module, seed: int) -> Iterator[MaskPool]:
    """Replace the model's dropout by pooled masks, attention included, for the block's duration."""
    pool = MaskPool(seed)
    replaced = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Dropout)]
    for name, stock in replaced:
        _put(model, name, PooledDropout(stock.p, pool).train(stock.training))
    encoders = [m for m in model.modules() if isinstance(m, PreTrainedModel)]
    before = [str(encoder.config._attn_implementation) for encoder in encoders]
    _register()
    for encoder in encoders:
        encoder.set_attn_implementation(_ATTENTION)
    try:
        yield pool
    finally:
        for name, stock in replaced:
            _put(model, name, stock.train(model.training))
        for encoder, implementation in zip(encoders, before, strict=True):
            encoder.set_attn_implementation(implementation)


def _put(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)


def _register() -> None:
    # torch's fused attention on a CPU knows no dropout: with a rate above 0 it falls back to
    # plain products and draws every mask afresh. These are the plain products with pooled masks.
    AttentionInterface.register(_ATTENTION, _attend)
    AttentionMaskInterface.register(_ATTENTION, eager_mask)


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Scaled dot-product attention, (batch, heads, tokens, head width) each; no weights out."""
    scale = query.size(-1) ** -0.5 if scaling is None else scaling
    drop = getattr(module, "dropout", None)
    masks = drop.masks if isinstance(drop, PooledDropout) and drop.drops else None
    return attend(query, key, value, attention_mask, scale=scale, drop=masks), None


def _mix(seed: int, counter: int) -> int:
    """A 64-bit hash of seed and counter (splitmix64, Steele et al. 2014)."""
    z = (seed * 0x9E3779B97F4A7C15 + (counter + 1) * 0xD1B54A32D192ED03) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return z ^ (z >> 31)

"""Training that sees int8: linear layers and tables round as the quantised graph will.

y = q(x) · q(W)ᵀ + b,   q(W) = s_o · round(W / s_o), s_o = max |W_o| / 64 for each output channel o,
q(x) = s · (round(x / s + z) − z), one s and z a product or a table, from its smallest and largest
value

Rounding has no slope, so the gradient passes as if there were none (straight-through: Bengio et al.
2013, https://arxiv.org/abs/1308.3432; Jacob et al. 2018, https://arxiv.org/abs/1712.05877). The
weights that train stay floats, and come out as floats that lie well for rounding.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

_STEPS = 64
"""Steps on either side of zero: seven bits, which never saturate two products in 16 bits."""
_LEVELS = 255
_TINY = 1e-12


class RoundedWeight(nn.Module):
    """(out, in) weights to the nearest of their channel's steps."""

    def forward(self, weight: Tensor) -> Tensor:
        step = (weight.detach().abs().amax(1, keepdim=True) / _STEPS).clamp(min=_TINY)
        return _through(weight, (weight.detach() / step).round() * step)


@contextmanager
def seen_in_int8(model: nn.Module) -> Iterator[None]:
    """For the block, linear layers and tables of words or positions compute as in int8.

    Weights stay trainable, under `parametrizations.weight.original` of their layer.
    """
    layers = [m for m in model.modules() if isinstance(m, nn.Linear)]
    handles = [layer.register_forward_pre_hook(_rounded_input) for layer in layers]
    tables = [m for m in model.modules() if isinstance(m, nn.Embedding)]
    handles += [table.register_forward_hook(_rounded_output) for table in tables]
    for layer in layers:
        parametrize.register_parametrization(layer, "weight", RoundedWeight())
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for layer in layers:
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)


def rounded(x: Tensor, among: Tensor) -> Tensor:
    """x at 256 levels between the smallest and the largest value of `among`, zero one of them."""
    with torch.no_grad():
        low, high = among.amin().clamp(max=0.0), among.amax().clamp(min=0.0)
        step = ((high - low) / _LEVELS).clamp(min=_TINY)
        zero = (-low / step).round()
        near = ((x / step + zero).round().clamp(0, _LEVELS) - zero) * step
    return _through(x, near)


def _rounded_input(_: nn.Module, taken: tuple[Any, ...]) -> tuple[Any, ...]:
    return (rounded(taken[0], taken[0]), *taken[1:])


def _rounded_output(table: nn.Embedding, _: tuple[Any, ...], found: Tensor) -> Tensor:
    return rounded(found, table.weight)


def _through(exact: Tensor, near: Tensor) -> Tensor:
    """`near`, with the gradient of `exact`."""
    return exact + (near - exact).detach()

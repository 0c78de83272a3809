"""A prefix: learned keys and values that every token of the text can attend to, in every layer.

head_i = softmax(q_i [P_k,i ; K_i]ᵀ / √d) [P_v,i ; V_i],  P_k, P_v: (tokens, width) a layer

Li and Liang 2021, https://arxiv.org/abs/2101.00190
"""

from dataclasses import dataclass
from inspect import signature
from typing import Annotated, Any

import torch
from annotated_types import Ge, Le, Len
from torch import Tensor, nn

from sartor.core.errors import ModelError
from sartor.tasks._encoder.added import ADDED


@dataclass(frozen=True, slots=True)
class Prefix:
    """Keys and values before those of the text."""

    at: Annotated[tuple[str, ...], Len(1, 4096)]
    """Dotted names, below the model, of attention modules that take cached keys and values."""
    tokens: Annotated[int, Ge(1), Le(1024)]
    """How many a layer."""

    def install(self, model: nn.Module) -> None:
        for name in self.at:
            base = _attention(model, name)
            heads, width = base.num_attention_heads, base.attention_head_size
            stored = Stored(self.tokens, heads * width, next(base.parameters()).device)
            wrapped = PrefixedAttention(base, stored, heads)
            model.set_submodule(name, wrapped.train(base.training))


class Stored(nn.Module):
    """(tokens, width) keys and values, as they are."""

    def __init__(self, tokens: int, width: int, device: torch.device) -> None:
        super().__init__()
        self.key = nn.Parameter(torch.empty(tokens, width, device=device))
        self.value = nn.Parameter(torch.empty(tokens, width, device=device))
        for tensor in (self.key, self.value):
            nn.init.normal_(tensor, std=0.02)

    def forward(self) -> tuple[Tensor, Tensor]:
        return self.key, self.value


class PrefixedAttention(nn.Module):
    """An attention module that finds `prefix()` among its keys and values.

    Args:
        base: As a decoder's, it offers its keys and values to a cache and attends to what comes
            back; the prefix is such a cache.
        prefix: () to (tokens, width) keys and values.
        heads: Of the attention.
    """

    def __init__(self, base: nn.Module, prefix: nn.Module, heads: int) -> None:
        super().__init__()
        self.base, self.prefix, self.heads = base, prefix, heads

    def forward(
        self, hidden_states: Tensor, attention_mask: Tensor | None = None, **kwargs: Any
    ) -> Any:
        key, value = self.prefix()
        if attention_mask is not None:
            # True and 0.0 both mean "attend": a mask is boolean, or added to the scores.
            free = 1.0 if attention_mask.dtype == torch.bool else 0.0
            attention_mask = nn.functional.pad(attention_mask, (len(key), 0), value=free)
        kwargs["past_key_values"] = _Before(key, value, self.heads)
        return self.base(hidden_states, attention_mask=attention_mask, **kwargs)


class _Before:
    """The part of a key-value cache that attention calls."""

    def __init__(self, key: Tensor, value: Tensor, heads: int) -> None:
        self._pair, self._heads = (key, value), heads

    def update(self, key: Tensor, value: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
        """(batch, heads, prefix + tokens, head width) each."""
        longer = [
            torch.cat([self._split(mine, theirs), theirs], dim=2)
            for mine, theirs in zip(self._pair, (key, value), strict=True)
        ]
        return longer[0], longer[1]

    def _split(self, prefix: Tensor, like: Tensor) -> Tensor:
        # Not `len(like)`: an export would take it for a constant.
        split = prefix.to(like.dtype).view(len(prefix), self._heads, -1).transpose(0, 1)
        return split.expand(like.size(0), -1, -1, -1)


def _attention(model: nn.Module, name: str) -> Any:
    try:
        base = model.get_submodule(name)
    except AttributeError as error:
        raise ModelError(
            f"the model's prefixes belong at {name!r}, which this encoder does not have.",
            fix="train it again: `sartor run` rebuilds what is missing.",
        ) from error
    known = all(hasattr(base, part) for part in ("num_attention_heads", "attention_head_size"))
    if not known or "past_key_values" not in signature(base.forward).parameters:
        raise ModelError(
            f"a prefix cannot stand before {name!r}: {type(base).__name__} takes no cached keys "
            "and values.",
            fix="use another method, e.g. `--method lora`.",
        )
    return base


# Not a decorator: that would hide the fields from type checkers.
ADDED.add(Prefix)

"""Prefix tuning: learn keys and values that every attention finds before those of the text.

With `reparameterise`, one small network draws the prefix of every layer while training, which
steadies it, and is left behind when folded:  [P_k; P_v]_l = W_l tanh(W' P' + b') + b_l,
P': (tokens, width). Trainable then: tokens · d + d · h + h + layers · (h · 2d + 2d), else tokens ·
layers · 2d, and the head.

Li and Liang 2021, https://arxiv.org/abs/2101.00190
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn

from sartor.core.errors import ModelError, NothingToTune
from sartor.tasks._encoder.added import install
from sartor.tasks._encoder.added.prefix import Prefix, PrefixedAttention, Stored
from sartor.tune.api import METHODS, Choice, Dimension, Reads, Real, Whole, is_head
from sartor.tune.blocks import find, open_added


@METHODS.add
@dataclass(frozen=True, slots=True)
class PrefixTuning:
    """Trains a prefix in every layer and the head; the prefixes stay in the model."""

    reads: ClassVar[Reads] = "tokens"
    rung: ClassVar[int | None] = None
    disturbs: ClassVar[Literal[True]] = True

    prefix_tokens: Annotated[int, Ge(1), Le(1024)] = 16
    """Virtual keys and values a layer."""
    reparameterise: bool = True
    """Whether a small network draws the prefixes while training."""
    hidden: Annotated[int, Ge(1), Le(4096)] = 128
    """Width of that network."""
    lr: Annotated[float, Gt(0), Le(1)] = 2e-3
    """Peak learning rate of the prefixes, or of the network that draws them."""
    head_lr: Annotated[float, Gt(0), Le(1)] = 5e-3
    """Peak learning rate of the head, which starts without pretraining."""

    def attach(self, model: nn.Module) -> None:
        at = find(model, "attention")
        try:
            install(model, Prefix(tuple(at), self.prefix_tokens))
        except ModelError as error:
            raise NothingToTune(error.what, fix=error.fix) from error
        if self.reparameterise:
            _reparameterise(_prefixed(model), self.hidden)
        open_added(model, ".prefix.")

    @torch.no_grad()
    def fold(self, model: nn.Module) -> None:
        for attention in _prefixed(model):
            if isinstance(attention.prefix, Drawn):
                key, value = attention.prefix()
                stored = Stored(key.size(0), key.size(1), key.device)
                stored.key.copy_(key)
                stored.value.copy_(value)
                attention.prefix = stored
        model.requires_grad_(True)

    def rate(self, name: str, depth: int) -> float:
        return self.head_lr if is_head(name) else self.lr

    @staticmethod
    def portfolio() -> Sequence[Mapping[str, Any]]:
        return [
            {"prefix_tokens": 16, "lr": 2e-3, "epochs": 5},
            {"prefix_tokens": 32, "lr": 1e-3, "epochs": 5},
            {"prefix_tokens": 16, "reparameterise": False, "lr": 2e-2, "epochs": 5},
        ]

    @staticmethod
    def space() -> Mapping[str, Dimension]:
        return {
            "prefix_tokens": Whole(4, 100, log=True),
            "reparameterise": Choice((False, True)),
            "lr": Real(5e-4, 1e-1, log=True),
            "epochs": Whole(2, 16, log=True),
            "label_smoothing": Real(0.0, 0.2),
        }


class Drawn(nn.Module):
    """A layer's keys and values, drawn from what all layers share.

    Args:
        shared: () to (tokens, hidden).
        hidden: Width of what is shared.
        width: Of the attention.
    """

    def __init__(self, shared: nn.Module, hidden: int, width: int) -> None:
        super().__init__()
        self.shared, self.out = shared, nn.Linear(hidden, 2 * width)

    def forward(self) -> tuple[Tensor, Tensor]:
        key, value = self.out(self.shared()).chunk(2, dim=-1)
        return key, value


class Shared(nn.Module):
    """tanh(W' P' + b')."""

    def __init__(self, tokens: int, width: int, hidden: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(tokens, width))
        nn.init.normal_(self.table)
        self.down = nn.Linear(width, hidden)

    def forward(self) -> Tensor:
        return self.down(self.table).tanh()


def _reparameterise(attentions: Sequence[PrefixedAttention], hidden: int) -> None:
    like = attentions[0].prefix.get_parameter("key")
    tokens, width = like.shape
    shared = Shared(tokens, width, hidden).to(like.device)
    for attention in attentions:
        attention.prefix = Drawn(shared, hidden, width).to(like.device)


def _prefixed(model: nn.Module) -> list[PrefixedAttention]:
    return [module for module in model.modules() if isinstance(module, PrefixedAttention)]

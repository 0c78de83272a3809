"""The smallest thing that learns from tokens, and rows for it."""

import numpy as np
import torch
from torch import Tensor, nn

from sartor.tune.batching import Tokens
from sartor.tune.recipe import Recipe, Rows
from sartor.tune.settings import Loop


class Bag(nn.Module):
    """Mean of word vectors, dropout and a linear head."""

    def __init__(self, words: int = 40, outputs: int = 2, dropout: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.dropout = nn.Dropout(dropout)
        self.encoder = nn.Embedding(words, 8)
        self.head = nn.Linear(8, outputs)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        mask = attention_mask.unsqueeze(-1).float()
        return self.head(self.dropout((self.encoder(input_ids) * mask).sum(1) / mask.sum(1)))


def bag_rows(count: int, seed: int, noise: float = 0.0) -> Rows:
    draw = np.random.default_rng(seed)
    ids = [draw.integers(1, 40, draw.integers(3, 15)).tolist() for _ in range(count)]
    labels = np.array([int(np.mean(row) > 20) for row in ids])
    flipped = draw.random(count) < noise
    return Rows(Tokens(ids, pad=0), np.where(flipped, 1 - labels, labels).astype(np.int64))


def bag_recipe(loop: Loop, rate: float = 0.05, method: object = None) -> Recipe:
    return Recipe(
        loop, 0, lambda z, y: nn.functional.cross_entropy(z, y), lambda name: rate, method=method
    )

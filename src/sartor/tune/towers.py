"""Two towers: what a history gives, and what every item wants of one, learnt from what was chosen.

    given_j  = A t_j + a_j      wanted_i = B t_i + b_i      t what the backbone makes of the texts
    u        = Σ_p w_p given[h_p] / Σ_p w_p                 w_p >= 0 learnt, p = 0 the newest item
    loss     = −log Σ_{i right} softmax(u · wanted_i + c · log(1 + n_i))

over the items that were chosen, less the history's own. a and b are an item's own part: they decay
towards 0, and are 0 for an item that no training row holds, which is then told by its text alone.
How popular an item is stands beside the towers while they are learnt: they need not say it.

Covington et al. 2016, doi:10.1145/2959100.2959190; Yi et al. 2019, doi:10.1145/3298689.3346996.
Beyond `_MOST` items, each batch is told from its own and as many others as make up that number.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sartor.core.protocols import Floats
from sartor.tasks.recommendation.model import LEAST, Vectors
from sartor.tune.choices import OUT, Choices, Compared, decayed
from sartor.tune.generators import seeded

_MOST = 8_192
_BATCH = 256
_SPREAD = 0.05
"""Deviation of what an item's own part begins with."""
_START = 0.85
"""Decay of a history's places to begin with."""


@dataclass(frozen=True, slots=True)
class Schooling:
    """How towers are learnt.

    Args:
        width: Of a vector.
        epochs: Passes over the rows.
        rate: Of Adam, at the start; it falls linearly to 0.
        own_decay: Share of an item's own part, in units of the rate, that each step takes away.
        most: Items of a history that count, the newest.
        seed: Draws the start and the order of the rows.
    """

    width: int
    epochs: int
    rate: float
    own_decay: float
    most: int
    seed: int


class Towers(nn.Module):
    """The parameters above.

    Args:
        texts: (items, features).
        how: Width, and how much of a history counts.
        held: (items,) whether a history of the rows holds an item.
        chosen: (items,) how often it was chosen.
    """

    texts: Tensor
    held: Tensor
    warm: Tensor
    popular: Tensor

    def __init__(
        self, texts: Floats, how: Schooling, held: NDArray[np.bool_], chosen: NDArray[np.float64]
    ) -> None:
        super().__init__()
        items, features = texts.shape
        self.register_buffer("texts", torch.from_numpy(texts))
        self.register_buffer("held", torch.from_numpy(held.astype(np.float32))[:, None])
        self.register_buffer("warm", torch.from_numpy((chosen > 0).astype(np.float32))[:, None])
        self.register_buffer("popular", torch.from_numpy(np.log1p(chosen).astype(np.float32)))
        spread = features**-0.5
        self.given_text = nn.Parameter(torch.randn(features, how.width) * spread)
        self.wanted_text = nn.Parameter(torch.randn(features, how.width) * spread)
        self.given_own = nn.Parameter(torch.randn(items, how.width) * _SPREAD)
        self.wanted_own = nn.Parameter(torch.randn(items, how.width) * _SPREAD)
        start = decayed(_START, how.most, how.most)
        # softplus and its inverse: weights of places stay above 0.
        self.place = nn.Parameter(torch.from_numpy(np.log(np.expm1(start + LEAST))))
        self.strength = nn.Parameter(torch.ones(()))

    def given(self) -> Tensor:
        """(items, width)."""
        return self.texts @ self.given_text + self.given_own * self.held

    def wanted(self) -> Tensor:
        """(items, width)."""
        return self.texts @ self.wanted_text + self.wanted_own * self.warm

    def places(self) -> Tensor:
        """(most,) weight of a history's places."""
        return nn.functional.softplus(self.place)

    def loss(self, rows: Tensor, right: Tensor, columns: Tensor, repeats: bool) -> Tensor:
        """Averaged over rows.

        Args:
            rows: (batch, most) places of the history's items, then −1.
            right: (batch, …) columns of the right items, then −1.
            columns: Items that are told apart.
            repeats: Whether a history's own items are among them.
        """
        there = (rows >= 0).float() * self.places()
        items = rows.clamp(min=0)
        user = (there.unsqueeze(1) @ self.given()[items]).squeeze(1)
        user = user / there.sum(1, keepdim=True).clamp(min=LEAST)
        logits = user @ self.wanted()[columns].T + self.strength * self.popular[columns]
        logits = logits.masked_fill(self.warm[columns, 0] == 0, OUT)
        if not repeats:
            own = torch.zeros(len(rows), len(self.texts) + 1, dtype=torch.bool)
            own.scatter_(1, torch.where(rows >= 0, rows, len(self.texts)), True)
            logits = logits.masked_fill(own[:, columns], OUT)
        named = logits.gather(1, right.clamp(min=0)).masked_fill(right < 0, float("-inf"))
        return (logits.logsumexp(1) - named.logsumexp(1)).mean()


def towers(rows: Choices, texts: Floats, how: Schooling) -> Compared:
    """Two towers, learnt.

    Args:
        rows: To learn from; those without a known item in their history teach nothing here.
        texts: (items, features).
        how: See `Schooling`.
    """
    some = np.flatnonzero((rows.seen[:, : how.most] >= 0).any(1))
    held = np.zeros(rows.items, bool)
    held[rows.seen[rows.seen >= 0]] = True
    with seeded(how.seed):
        model = Towers(texts, how, held, rows.counts())
        _learn(model, rows.take(some), how)
    with torch.no_grad():
        place = np.zeros(rows.seen.shape[1], np.float32)
        place[: how.most] = model.places().numpy()
        found = Vectors(model.given().numpy(), model.wanted().numpy(), place)
    return Compared(found)


def labour(rows: int, items: int) -> float:
    """Floating-point operations of ten passes over rows, and again over the earlier of them."""
    return 2 * 10 * rows * min(items, 2 * _MOST) * 32 * 6.0


def _learn(model: Towers, rows: Choices, how: Schooling) -> None:
    own = [model.given_own, model.wanted_own]
    others = [p for p in model.parameters() if all(p is not one for one in own)]
    groups = [{"params": own, "weight_decay": how.own_decay}, {"params": others}]
    optimizer = torch.optim.AdamW(groups, lr=how.rate, weight_decay=0.0)
    steps = max(1, -(-len(rows) // _BATCH)) * how.epochs
    falling = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / (steps + 1))
    seen = torch.from_numpy(rows.seen[:, : how.most])
    right = torch.from_numpy(rows.right)
    for _ in range(how.epochs):
        for batch in torch.randperm(len(rows)).split(_BATCH):
            columns, named = _told_apart(right[batch], rows.items)
            loss = model.loss(seen[batch], named, columns, rows.repeats)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            falling.step()


def _told_apart(right: Tensor, items: int) -> tuple[Tensor, Tensor]:
    """(columns, the right ones among them): all items, or the batch's own and drawn ones."""
    if items <= _MOST:
        return torch.arange(items), right
    columns = torch.cat([right[right >= 0], torch.randint(items, (_MOST,))]).unique()
    named = torch.searchsorted(columns, right.clamp(min=0))
    return columns, torch.where(right >= 0, named, right)

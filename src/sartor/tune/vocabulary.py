"""Trains the rows of the word table that the training texts use, and carries no others along.

A row whose word never occurs has no gradient, so AdamW leaves it where it was; yet gradient,
moments, clipping, checkpoints and the best weights would hold it, and of 250,000 words a small data
set uses a few thousand. While training the table holds the used rows alone and ids are translated;
to evaluate, and at the end, they stand in the whole table again.

The rows that train do so exactly as they would in the whole table. Those that do not are spared
weight decay, which would pull words towards zero that nothing was learnt about.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sartor.tune.api import Objective
from sartor.tune.batching import Inputs, Tokens

_WORTH = 0.9
"""Share of used rows above which nothing is gained."""


class UsedRows:
    """A word table that holds its used rows only.

    Args:
        table: With a weight that trains; its parameter stays the same object.
        used: Ids that training reads, ascending.
    """

    def __init__(self, table: nn.Embedding, used: Tensor) -> None:
        self._table, self._used = table, used.to(table.weight.device)
        self._whole = table.weight.data
        # An id that training was not said to read has no place: looking it up fails.
        self._place = torch.full((len(self._whole),), -1, device=self._used.device)
        self._place[self._used] = torch.arange(len(used), device=self._used.device)
        self._padding = table.padding_idx
        table.weight.data = self._whole[self._used]
        if self._padding is not None:
            table.padding_idx = int(self._place[self._padding])
        self._hook = table.register_forward_pre_hook(self._translate)

    @contextmanager
    def whole(self) -> Iterator[None]:
        """The whole table for the block, to read words that training does not."""
        rows = self._table.weight.data
        self._fill()
        try:
            yield
        finally:
            self._table.weight.data = rows

    def close(self) -> None:
        """Make the table whole for good."""
        self._hook.remove()
        self._table.weight.grad = None
        self._fill()
        self._table.padding_idx = self._padding

    def _fill(self) -> None:
        self._whole[self._used] = self._table.weight.data
        self._table.weight.data = self._whole

    def _translate(self, _: nn.Module, taken: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if len(self._table.weight) == len(self._whole):
            return None
        return (self._place[taken[0]], *taken[1:])


@contextmanager
def used_rows(model: nn.Module, inputs: Inputs, method: object) -> Iterator[UsedRows | None]:
    """Shrink the model's word table to what the training rows use, for the block's duration.

    None where that is no gain or cannot be known to be right: a table that does not train or that
    another layer shares, rows that are not tokens, a vocabulary that is used almost whole, a
    method that may read ids of its own.
    """
    if not isinstance(inputs, Tokens) or isinstance(method, Objective):
        yield None
        return
    table = _trained_table(model)
    if table is None:
        yield None
        return
    used = inputs.vocabulary()
    if table.padding_idx is not None:
        used = torch.unique(torch.cat([used, torch.tensor([table.padding_idx])]))
    if len(used) > _WORTH * len(table.weight):
        yield None
        return
    rows = UsedRows(table, used)
    try:
        yield rows
    finally:
        rows.close()


def _trained_table(model: nn.Module) -> nn.Embedding | None:
    """The word table, if there is one, its weight trains and nothing else holds it."""
    # By its size and not by the encoder's accessor: a method may have wrapped what holds it.
    sizes = {m.config.vocab_size for m in model.modules() if isinstance(m, PreTrainedModel)}
    layers = [m for m in model.modules() if isinstance(m, nn.Embedding)]
    tables = [layer for layer in layers if len(layer.weight) in sizes]
    if len(tables) != 1 or not tables[0].weight.requires_grad:
        return None
    every = model.named_parameters(remove_duplicate=False)
    return tables[0] if sum(tensor is tables[0].weight for _, tensor in every) == 1 else None

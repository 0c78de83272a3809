"""Masked language modelling: guess hidden words from the words around them.

15 % of a text's tokens are hidden: 80 % of those behind the mask token, 10 % behind a random token,
10 % left as they are, so that a token that looks whole must be understood too. Devlin et al. 2019,
https://arxiv.org/abs/1810.04805; drawn anew in every epoch, Liu et al. 2019,
https://arxiv.org/abs/1907.11692

    p(word) = softmax(E · norm(gelu(W h)) + b),  E the word table itself (Press and Wolf 2017)

Only hidden places are scored, and only against words that the texts use: of a vocabulary of 250,000
a shop's reviews use a few thousand.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor, nn
from transformers import PreTrainedModel

from sartor.core.errors import SettingError
from sartor.tune.pretrain import PRETEXTS, Words, answers, fixed
from sartor.tune.settings import Loop

_HEAD = "guess."


@PRETEXTS.add
@dataclass(frozen=True, slots=True)
class Mlm:
    """Hides tokens and guesses them."""

    lr: Annotated[float, Gt(0)] = 1e-4
    """Peak learning rate of the encoder."""
    head_lr: Annotated[float, Gt(0)] = 2e-3
    """Peak learning rate of the layers that guess, which start from nothing."""
    epochs: Annotated[int, Ge(1), Le(1000)] = 3
    """Passes over the texts."""
    hidden: Annotated[float, Gt(0), Lt(1)] = 0.15
    """Share of tokens to guess."""

    def loop(self) -> Loop:
        """How the gradient loop runs."""
        return Loop(epochs=self.epochs, batch_tokens=4096, batch_rows=64, patience=4)

    def rate(self, name: str) -> float:
        """Peak learning rate of a tensor."""
        return self.head_lr if name.startswith(_HEAD) else self.lr

    def build(self, encoder: PreTrainedModel, words: Words) -> nn.Module:
        """The encoder with what the task needs around it.

        Raises:
            SettingError: If the tokenizer has no mask token.
        """
        if words.mask is None:
            raise SettingError(
                "pretrain: mlm needs a mask token, and this backbone's tokenizer has none.",
                fix="write pretrain: simcse under prefer, or choose a BERT-like backbone.",
            )
        return _Guesser(encoder, words, words.mask, self.hidden)


class _Guesser(nn.Module):
    used: Tensor
    place: Tensor
    special: Tensor

    def __init__(self, encoder: PreTrainedModel, words: Words, mask: int, hidden: float) -> None:
        super().__init__()
        table = encoder.get_input_embeddings()
        assert isinstance(table, nn.Embedding), "a text encoder looks words up in a table"
        width = encoder.config.hidden_size
        self.encoder, self.hidden, self.mask = encoder, hidden, mask
        # Held here as well: whoever would carry only used rows along sees that it is shared.
        self.table = table
        self.guess = nn.Sequential(
            nn.Linear(width, table.embedding_dim), nn.GELU(), nn.LayerNorm(table.embedding_dim)
        )
        self.guess.register_parameter("bias", nn.Parameter(torch.zeros(len(words.used))))
        self.register_buffer("used", torch.tensor(words.used), persistent=False)
        place = torch.full((table.num_embeddings,), -1)
        place[torch.tensor(words.used)] = torch.arange(len(words.used))
        self.register_buffer("place", place, persistent=False)
        self.register_buffer("special", torch.tensor(sorted(words.special)), persistent=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """See `pretrain.answers`.

        Args:
            input_ids: (batch, tokens).
            attention_mask: (batch, tokens), 1 at real tokens.
        """
        changed, chosen = self._hide(input_ids, attention_mask)
        found = self.encoder(input_ids=changed, attention_mask=attention_mask).last_hidden_state
        guessed: Tensor = self.guess(found[chosen].float())
        table = self.table.weight[self.used].float()
        scores = guessed @ table.T + self.guess.get_parameter("bias")
        losses = nn.functional.cross_entropy(
            scores, self.place[input_ids[chosen]], reduction="none"
        )
        rows = chosen.nonzero()[:, 0]
        zeros = torch.zeros(len(input_ids), device=losses.device)
        counts = zeros.index_add(0, rows, torch.ones_like(losses))
        return answers(zeros.index_add(0, rows, losses) / counts.clamp(min=1))

    def _hide(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(ids with tokens hidden, where), at least one token of every text that has one."""
        # In training the process's generator, which the checkpoint holds; else always the same.
        draw = None if self.training else fixed(ids)
        open_ = mask.bool() & ~torch.isin(ids, self.special)
        lot = torch.rand(ids.shape, generator=draw).to(ids.device).masked_fill(~open_, 2.0)
        chosen = (lot < self.hidden) | (lot == lot.min(1, keepdim=True).values) & open_
        kind = torch.rand(ids.shape, generator=draw).to(ids.device)
        other = torch.randint(len(self.used), ids.shape, generator=draw).to(ids.device)
        changed = torch.where(chosen & (kind < 0.8), self.mask, ids)
        return torch.where(chosen & (kind >= 0.9), self.used[other], changed), chosen

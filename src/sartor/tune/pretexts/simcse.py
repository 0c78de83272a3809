"""SimCSE, unsupervised: a text read twice, under two dropouts, is nearer to itself than to others.

loss_i = −log( exp(sim(z_i, z'_i) / τ) / Σ_j exp(sim(z_i, z'_j) / τ) ),  sim the cosine
Gao et al. 2021, https://arxiv.org/abs/2104.08821

The vectors are the means over tokens that heads read. The other texts of a batch are the negatives.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn
from transformers import PreTrainedModel

from sartor.tasks._encoder.model import mean_over_tokens
from sartor.tune.pretrain import PRETEXTS, Words, answers, fixed
from sartor.tune.settings import Loop

_HIDDEN = 0.5
"""Share of tokens that the second reading does not see when dropout is off: with a tenth, sentence
encoders tell a text from 63 others without an error, and no evaluation would differ."""


@PRETEXTS.add
@dataclass(frozen=True, slots=True)
class SimCse:
    """Pulls two readings of a text together, and texts apart."""

    lr: Annotated[float, Gt(0)] = 3e-5
    """Peak learning rate."""
    epochs: Annotated[int, Ge(1), Le(1000)] = 1
    """Passes over the texts; more tend to push texts of one label apart."""
    rows: Annotated[int, Ge(2)] = 64
    """Texts in a batch: one less are the negatives of each."""
    temperature: Annotated[float, Gt(0)] = 0.05
    """τ."""

    def loop(self) -> Loop:
        """How the gradient loop runs."""
        return Loop(
            epochs=self.epochs, batch_tokens=64 * self.rows, batch_rows=self.rows, evaluations=4
        )

    def rate(self, name: str) -> float:
        """Peak learning rate of a tensor."""
        return self.lr

    def build(self, encoder: PreTrainedModel, words: Words) -> nn.Module:
        """The encoder with what the task needs around it."""
        return _Twice(encoder, self.temperature)


class _Twice(nn.Module):
    def __init__(self, encoder: PreTrainedModel, temperature: float) -> None:
        super().__init__()
        self.encoder, self.temperature = encoder, temperature

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """See `pretrain.answers`.

        Args:
            input_ids: (batch, tokens).
            attention_mask: (batch, tokens), 1 at real tokens.
        """
        again = attention_mask if self.training else _thinned(input_ids, attention_mask)
        one, other = self._read(input_ids, attention_mask), self._read(input_ids, again)
        near = one @ other.T / self.temperature
        own = torch.arange(len(near), device=near.device)
        return answers(nn.functional.cross_entropy(near, own, reduction="none"))

    def _read(self, ids: Tensor, mask: Tensor) -> Tensor:
        found = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        return nn.functional.normalize(mean_over_tokens(found, mask), dim=-1)


def _thinned(ids: Tensor, mask: Tensor) -> Tensor:
    """The mask with half of the tokens taken out, the first one never."""
    kept = torch.rand(ids.shape, generator=fixed(ids)).to(ids.device) >= _HIDDEN
    kept[:, 0] = True
    return mask * kept

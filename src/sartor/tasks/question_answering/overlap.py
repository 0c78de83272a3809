"""The sentence of the context that shares the most with the question: nothing is learnt.

score(sentence) = Σ_t idf(t),  over its tokens t that stand in the question too

What it answers is always a whole sentence, so it is right in F1 more than to the letter: the honest
baseline of whatever is trained. It reads ids and mask as an encoder does, so that it is exported,
judged and served alike.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sartor.tasks._encoder.by_piece import at_pieces
from sartor.tasks._encoder.files import write_model

KIND = "overlap"
_FAR = -20.0
"""Logit of a place where no sentence begins, or ends."""
_LEAST = 1e-3
"""Of no word in common: above 0, which would say that the place was not read."""


class Overlap(nn.Module):
    """Token ids and mask of a question and a context to logits.

    Args:
        vocabulary: Number of tokens.
    """

    closes: Tensor

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(vocabulary), requires_grad=False)
        """(vocabulary,) idf; 0 of special tokens."""
        self.register_buffer("closes", torch.zeros(vocabulary))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits (batch, tokens, 2), 0 where there is no place.

        Args:
            input_ids: (batch, tokens), integers.
            attention_mask: (batch, tokens), as `_encoder.by_piece` has it; the pieces are those of
                the context.
        """
        place = torch.arange(input_ids.shape[1], device=input_ids.device)
        behind = (place.unsqueeze(0) > 0).to(torch.int64)
        piece = (attention_mask > 1).to(torch.int64) * behind
        real = (attention_mask > 0).to(torch.int64)
        context = (piece.cumsum(1) > 0).to(torch.int64) * real
        question = (real - context).to(torch.float32)
        alike = (input_ids.unsqueeze(2) == input_ids.unsqueeze(1)).to(torch.float32)
        asked = ((alike * question.unsqueeze(1)).sum(2) > 0).to(torch.float32)
        closing = self.closes[input_ids] * context
        sentence = closing.cumsum(1) - closing
        # (batch, token, other token): whether the other is of the token's sentence.
        same = (sentence.unsqueeze(2) == sentence.unsqueeze(1)).to(torch.float32)
        gains = asked * self.weight[input_ids] * context
        score = (same * gains.unsqueeze(1)).sum(2) + _LEAST
        body = piece.to(torch.float32) * (1 - closing)
        earlier = (place.unsqueeze(0) < place.unsqueeze(1)).to(torch.float32)
        before = (same * body.unsqueeze(1) * earlier).sum(2)
        after = (same * body.unsqueeze(1) * earlier.transpose(0, 1)).sum(2)
        begins, ends = ((body > 0) & (others == 0) for others in (before, after))
        far = torch.full_like(score, _FAR)
        logits = torch.stack([torch.where(begins, score, far), torch.where(ends, score, far)], 2)
        none = torch.full_like(logits, _LEAST)
        return at_pieces(torch.where(behind.unsqueeze(2) > 0, logits, none), attention_mask)

    def save(self, folder: Path) -> None:
        """Write model.safetensors and classifier.json."""
        write_model(self, folder, {"kind": KIND, "vocabulary": len(self.weight)})


def rebuild(shape: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Overlap:
    """What `save` wrote, from its shape and its tensors.

    Raises:
        KeyError, RuntimeError: If they do not fit each other.
    """
    model = Overlap(shape["vocabulary"])
    model.load_state_dict(dict(tensors))
    return model

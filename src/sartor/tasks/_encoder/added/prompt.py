"""A soft prompt: learned vectors before the text, straight into the first layer.

They enter after the embedding layer, so no position of the text shifts, none of the backbone's
positions is used up, and nothing is added to the vectors but what they learn (in T5, where the
prompt was proposed, the embedding layer adds nothing either).

Lester et al. 2021, https://arxiv.org/abs/2104.08691
"""

from dataclasses import dataclass
from typing import Annotated, Any

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn

from sartor.core.errors import ModelError
from sartor.tasks._encoder.added import ADDED


@dataclass(frozen=True, slots=True)
class Prompt:
    """Virtual tokens, the same for every text."""

    tokens: Annotated[int, Ge(1), Le(1024)]
    """How many."""

    def install(self, model: nn.Module) -> None:
        encoder: Any = model.get_submodule("encoder")
        base = getattr(encoder, "embeddings", None)
        words = getattr(base, "word_embeddings", None)
        if isinstance(base, PromptedEmbeddings):
            raise ModelError(
                "the model has a prompt already.", fix="give that one more tokens instead."
            )
        if not isinstance(base, nn.Module) or not isinstance(words, nn.Embedding):
            raise ModelError(
                f"a prompt has no place in {type(encoder).__name__}: it has no embedding layer "
                "called `embeddings`.",
                fix="use another method, e.g. `--method lora`.",
            )
        width = encoder.config.hidden_size
        encoder.embeddings = PromptedEmbeddings(base, self.tokens, width).train(base.training)
        # `features` widens the mask by these, and leaves them out of the mean.
        model.virtual = self.tokens  # type: ignore[assignment]  # torch types attributes as tensors or modules


class PromptedEmbeddings(nn.Module):
    """(batch, tokens) to (batch, prompt + tokens, width)."""

    def __init__(self, base: nn.Module, tokens: int, width: int) -> None:
        super().__init__()
        self.base = base
        like = next(base.parameters())
        self.prompt = nn.Parameter(torch.empty(tokens, width, device=like.device))
        nn.init.normal_(self.prompt, std=0.02)

    @property
    def word_embeddings(self) -> nn.Module:
        """The backbone's table, where transformers' `get_input_embeddings` looks for it."""
        return self.base.get_submodule("word_embeddings")

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        text = self.base(*args, **kwargs)
        # Not `len(text)`: an export would take it for a constant.
        return torch.cat([self.prompt.to(text.dtype).expand(text.size(0), -1, -1), text], dim=1)


# Not a decorator: that would hide the fields from type checkers.
ADDED.add(Prompt)

"""Prompt tuning: learn vectors that stand before every text; the encoder stays as it is.

Trainable: tokens · width, and the head. The vectors start as those of words drawn from the
vocabulary, which the paper found better than noise.

Lester et al. 2021, https://arxiv.org/abs/2104.08691
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge, Gt, Le
from torch import nn

from sartor.core.errors import ModelError, NothingToTune
from sartor.tasks._encoder.added import install
from sartor.tasks._encoder.added.prompt import Prompt, PromptedEmbeddings
from sartor.tune.api import METHODS, Dimension, Reads, Real, Whole, is_head
from sartor.tune.blocks import open_added


@METHODS.add
@dataclass(frozen=True, slots=True)
class PromptTuning:
    """Trains a soft prompt and the head; the prompt stays in the model."""

    reads: ClassVar[Reads] = "tokens"
    rung: ClassVar[int | None] = None
    disturbs: ClassVar[Literal[True]] = True

    prompt_tokens: Annotated[int, Ge(1), Le(1024)] = 16
    """Virtual tokens; each costs as much time as a token of the text, in training and serving."""
    lr: Annotated[float, Gt(0), Le(1)] = 5e-2
    """Peak learning rate of the prompt."""
    head_lr: Annotated[float, Gt(0), Le(1)] = 5e-3
    """Peak learning rate of the head, which starts without pretraining."""

    def attach(self, model: nn.Module) -> None:
        try:
            install(model, Prompt(self.prompt_tokens))
        except ModelError as error:
            raise NothingToTune(error.what, fix=error.fix) from error
        start_from_words(model)
        open_added(model, ".prompt")

    def fold(self, model: nn.Module) -> None:
        """The prompt is a plain tensor already."""
        model.requires_grad_(True)

    def rate(self, name: str, depth: int) -> float:
        return self.head_lr if is_head(name) else self.lr

    @staticmethod
    def portfolio() -> Sequence[Mapping[str, Any]]:
        return [
            {"prompt_tokens": 16, "lr": 5e-2, "epochs": 6},
            {"prompt_tokens": 32, "lr": 2e-2, "epochs": 6},
            {"prompt_tokens": 8, "lr": 1e-1, "epochs": 6},
        ]

    @staticmethod
    def space() -> Mapping[str, Dimension]:
        return {
            "prompt_tokens": Whole(4, 100, log=True),
            "lr": Real(3e-3, 0.5, log=True),
            "epochs": Whole(2, 16, log=True),
            "label_smoothing": Real(0.0, 0.2),
        }


@torch.no_grad()
def start_from_words(model: nn.Module) -> None:
    """Set the prompt to what the embedding layer makes of words drawn from the vocabulary."""
    embeddings: Any = model.get_submodule("encoder").get_submodule("embeddings")
    prompted: PromptedEmbeddings = embeddings
    words = embeddings.base.word_embeddings.weight
    drawn = torch.randint(len(words), (len(prompted.prompt), 1))
    was_training = prompted.base.training
    # One word a row: all stand at the first position, as the prompt has no order of its own.
    prompted.base.eval()
    vectors = prompted.base(input_ids=drawn.to(words.device))
    prompted.base.train(was_training)
    prompted.prompt.copy_(vectors[:, 0])

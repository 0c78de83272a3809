"""LoRA on a chat model, learning the training rows' replies: supervised fine-tuning.

y = Wx + (alpha / rank)·BAx in every linear layer of the decoder, folded into W at the end
Hu et al. 2021, https://arxiv.org/abs/2106.09685
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor, nn

from sartor.models.loading import load_language_model
from sartor.tune.decoder import Decoder
from sartor.tune.generators import seeded
from sartor.tune.injected import inject, merge
from sartor.tune.job import Result
from sartor.tune.loop import Recipe, Rows, Watch, train
from sartor.tune.packing import Lesson, Lessons
from sartor.tune.writers.prompted import replied
from sartor.tune.writing import WRITERS, Reading, WritingJob


@WRITERS.add
@dataclass(frozen=True, slots=True)
class LoraReply:
    """Adapts every linear layer of the decoder."""

    rung: ClassVar[int] = 20
    learns: ClassVar[bool] = True
    writes: ClassVar[bool] = True
    reads: ClassVar[tuple[str, ...]] = ("conversation",)
    begins: ClassVar[str] = "pretrained"

    rank: Annotated[int, Ge(1), Le(1024)] = 16
    """Width of the bottleneck."""
    alpha: Annotated[float, Gt(0)] = 32.0
    """Scale of the update: it is multiplied by alpha / rank."""
    lora_dropout: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Share of the inputs of A set to zero while training."""
    lr: Annotated[float, Gt(0), Le(1)] = 5e-4
    """Peak learning rate of A and B."""

    def fit(self, job: WritingJob, watch: Watch) -> Result:
        # Here, since planning asks for settings and need not wait for peft.
        from peft import LoraConfig

        base = load_language_model(job.backbone)
        reading = Reading.of(job, base)
        config = LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,  # type: ignore[arg-type]  # peft divides; a float is fine
            lora_dropout=self.lora_dropout,
            target_modules=linears(base),
            bias="none",
        )
        with seeded(job.candidate.seed):
            model = Decoder(base)
            inject(model, config)
        recipe = Recipe(
            loop=job.loop,
            seed=job.candidate.seed,
            loss=loss,
            rate=lambda name: self.lr,
            bf16=job.bf16,
            method=self,
        )
        rows = (reading.lessons(job.train), reading.lessons(job.validation))
        trained = train(model, (_rows(rows[0]), _rows(rows[1])), recipe, watch)
        merge(model)
        made = replied(job, model, reading)
        return replace(
            made,
            history=tuple(trained.history),
            cut=trained.steps if trained.cut else None,
            findings={"tokens_per_s": trained.tokens / max(trained.seconds, 1e-9)},
        )

    @staticmethod
    def portfolio() -> Sequence[Mapping[str, Any]]:
        return [
            {"rank": 16, "lr": 5e-4, "epochs": 3, "batch_tokens": 1024},
            {"rank": 32, "lr": 2e-4, "epochs": 5, "batch_tokens": 1024},
        ]


def linears(model: nn.Module) -> list[str]:
    """Dotted names, below a `Decoder`, of the linear layers that are not the head."""
    head: Any = model
    top = head.get_output_embeddings()
    return [
        f"decoder.{name}"
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module is not top
    ]


def loss(logits: Tensor, truth: Tensor) -> Tensor:
    """−ln p of the replies, the mean over them; see `tune.decoder`.

    Args:
        logits: (conversations, 2).
        truth: All 0.
    """
    return -logits[:, 0].mean()


def _rows(lessons: Sequence[Lesson]) -> Rows:
    return Rows(Lessons.of(lessons), np.zeros(len(lessons), np.int64))

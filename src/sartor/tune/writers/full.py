"""Full: all weights of a pretrained encoder-decoder learn the training rows.

Teacher forcing: the decoder is given what is right so far, and learns the token that follows.
Sutskever et al. 2014, https://arxiv.org/abs/1409.3215
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge, Gt, Le

from sartor.tune.generators import seeded
from sartor.tune.job import Result
from sartor.tune.loop import Recipe, Rows, Watch, train
from sartor.tune.sides import Pairs, sides_of
from sartor.tune.writers.lora import loss
from sartor.tune.writers.untuned import opened, translated
from sartor.tune.writing import WRITERS, WritingJob


@WRITERS.add
@dataclass(frozen=True, slots=True)
class FullTranslator:
    """Trains every weight."""

    rung: ClassVar[int] = 30
    learns: ClassVar[bool] = True
    writes: ClassVar[bool] = True
    reads: ClassVar[tuple[str, ...]] = ("text",)
    begins: ClassVar[str] = "pretrained"

    beams: Annotated[int, Ge(1), Le(16)] = 4
    """Texts that are kept beside each other while writing; 1 takes the likeliest token each time.
    """
    length_penalty: Annotated[float, Ge(0), Le(10)] = 1.0
    """The sum of ln p of a text is divided by its tokens to this power."""
    lr: Annotated[float, Gt(0), Le(1)] = 5e-5
    """Peak learning rate."""

    def fit(self, job: WritingJob, watch: Watch) -> Result:
        return learnt(job, watch, self)

    @staticmethod
    def portfolio() -> Sequence[Mapping[str, Any]]:
        return [{"lr": 5e-5, "epochs": 5, "label_smoothing": 0.1, "batch_tokens": 2048}]


def learnt(job: WritingJob, watch: Watch, how: Any) -> Result:
    """Train all weights through the loop, then write.

    Args:
        job: See `WritingJob`.
        watch: Checkpoints, deadline, progress.
        how: Has the settings `beams`, `length_penalty` and `lr`.
    """
    sides = sides_of(job.backbone)
    with seeded(job.candidate.seed):
        model = opened(job, how.beams, how.length_penalty, job.loop.label_smoothing)
    recipe = Recipe(
        # The masks of encoders stand in for modules; these drop by a function.
        loop=replace(job.loop, masks="drawn", label_smoothing=0.0),
        seed=job.candidate.seed,
        loss=loss,
        rate=lambda name: how.lr,
        bf16=job.bf16,
        method=how,
    )
    rows = [Pairs.of(part, sides, model.file) for part in (job.train, job.validation)]
    data = [Rows(pairs, np.zeros(len(pairs.sources), np.int64)) for pairs in rows]
    trained = train(model, (data[0], data[1]), recipe, watch)
    made = translated(job, model, sides)
    return replace(
        made,
        history=tuple(trained.history),
        cut=trained.steps if trained.cut else None,
        findings={"tokens_per_s": trained.tokens / max(trained.seconds, 1e-9)},
    )

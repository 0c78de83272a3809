"""Prompted: a chat model as it came, shown a few training rows as earlier turns.

Few-shot prompting: Brown et al. 2020, https://arxiv.org/abs/2005.14165
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge, Le

from sartor.core.replies import as_numbers
from sartor.core.types import Examples
from sartor.models.loading import load_language_model
from sartor.tune.decoder import Decoder
from sartor.tune.device import computing
from sartor.tune.job import Result
from sartor.tune.recipe import Watch
from sartor.tune.writing import WRITERS, Reading, WritingJob, unscored

_MOST_CHARS = 400
"""Of a text or a reply that is shown: every request pays for it."""


@WRITERS.add
@dataclass(frozen=True, slots=True)
class PromptedReply:
    """Shows examples, and lets the model go on."""

    rung: ClassVar[int] = 10
    learns: ClassVar[bool] = False
    writes: ClassVar[bool] = True
    reads: ClassVar[tuple[str, ...]] = ("conversation",)
    begins: ClassVar[str] = "pretrained"

    examples: Annotated[int, Ge(0), Le(32)] = 4
    """Training rows that stand before every conversation."""

    def fit(self, job: WritingJob, watch: Watch) -> Result:
        model = Decoder(load_language_model(job.backbone))
        shown = _drawn(job.train, self.examples, job.candidate.seed)
        return replied(job, model, Reading.of(job, model.decoder, shown))

    @staticmethod
    def portfolio() -> Sequence[Mapping[str, Any]]:
        return [{"examples": 4}]


def replied(job: WritingJob, model: Decoder, reading: Reading) -> Result:
    """What a model leaves: itself, and its replies to the validation rows."""
    model.eval()
    model.file = reading.file
    held = job.validation
    with computing(model):
        said = model.write(reading.prompts(held), reading.says, reading.file.max_new_tokens)
        right = model.right(reading.lessons(held))
    whole = [
        replace(each, right_log_p=log_p, right_tokens=tokens)
        for each, (log_p, tokens) in zip(said, right, strict=True)
    ]
    says = reading.says
    return Result(
        model,
        says.tokenizer,
        as_numbers(whole),
        unscored(job.train),
        published=says.published,
    )


def _drawn(train: Examples, count: int, seed: int) -> list[int]:
    """Rows to show, drawn by seed, short ones before long ones."""
    order: list[int] = np.random.default_rng(seed).permutation(len(train)).tolist()
    lengths = [len(str(t)) + len(str(r)) for t, r in zip(train.texts, train.target, strict=True)]
    order.sort(key=lambda row: lengths[row] > _MOST_CHARS)  # stable: the draw stays within both
    return order[:count]

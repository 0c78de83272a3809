"""Untuned: an encoder-decoder as it came; nothing is trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Le

from sartor.core.replies import as_numbers
from sartor.models.loading import load_seq2seq
from sartor.tune.device import computing
from sartor.tune.job import Result
from sartor.tune.recipe import Watch
from sartor.tune.seq2seq import Seq2Seq
from sartor.tune.sides import Pairs, Sides, sides_of
from sartor.tune.writing import WRITERS, WritingJob, unscored


@WRITERS.add
@dataclass(frozen=True, slots=True)
class Untuned:
    """Writes with the model as it came."""

    rung: ClassVar[int] = 10
    learns: ClassVar[bool] = False
    writes: ClassVar[bool] = True
    reads: ClassVar[tuple[str, ...]] = ("text",)
    begins: ClassVar[str] = "pretrained"

    beams: Annotated[int, Ge(1), Le(16)] = 4
    """Texts that are kept beside each other while writing; 1 takes the likeliest token each time.
    """
    length_penalty: Annotated[float, Ge(0), Le(10)] = 1.0
    """The sum of ln p of a text is divided by its tokens to this power."""

    def fit(self, job: WritingJob, watch: Watch) -> Result:
        model = opened(job, self.beams, self.length_penalty)
        return translated(job, model, sides_of(job.backbone))

    @staticmethod
    def portfolio() -> Sequence[Mapping[str, Any]]:
        return [{"beams": 4}]


def opened(job: WritingJob, beams: int, penalty: float, smoothing: float = 0.0) -> Seq2Seq:
    """The job's model, with what it reads and how it writes.

    Args:
        job: Gives the backbone and the training rows.
        beams: Of what is written.
        penalty: Its length penalty.
        smoothing: See `Seq2Seq`.
    """
    sides, base = sides_of(job.backbone), load_seq2seq(job.backbone)
    longest = max((len(sides.written(str(each))) for each in job.train.target), default=1)
    file = sides.file(base, longest, beams, penalty)
    return Seq2Seq(base, file, smoothing, writer=sides.apart)


def translated(job: WritingJob, model: Seq2Seq, sides: Sides) -> Result:
    """What a model leaves: itself, and what it writes of the validation rows."""
    model.eval()
    held = Pairs.of(job.validation, sides, model.file)
    with computing(model):
        said, right = model.write(held.sources, sides), model.right(held)
    whole = [
        replace(each, right_log_p=log_p, right_tokens=tokens)
        for each, (log_p, tokens) in zip(said, right, strict=True)
    ]
    return Result(
        model,
        sides.tokenizer,
        as_numbers(whole),
        unscored(job.train),
        published=sides.published,
    )

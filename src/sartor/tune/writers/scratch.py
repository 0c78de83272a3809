"""Scratch: a small encoder-decoder learns from these rows alone, beginning from drawn weights.

Nothing was learnt before, no word of any language: a few hundred rows teach it little more than
what comes back in them. Said wherever its results are shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Gt, Le

from sartor.tune.job import Result
from sartor.tune.recipe import Watch
from sartor.tune.writers.full import learnt
from sartor.tune.writing import WRITERS, WritingJob


@WRITERS.add
@dataclass(frozen=True, slots=True)
class Scratch:
    """Trains every weight of a drawn model."""

    rung: ClassVar[int] = 20
    learns: ClassVar[bool] = True
    writes: ClassVar[bool] = True
    reads: ClassVar[tuple[str, ...]] = ("text",)
    begins: ClassVar[str] = "drawn"

    beams: Annotated[int, Ge(1), Le(16)] = 4
    """Texts that are kept beside each other while writing; 1 takes the likeliest token each time.
    """
    length_penalty: Annotated[float, Ge(0), Le(10)] = 1.0
    """The sum of ln p of a text is divided by its tokens to this power."""
    lr: Annotated[float, Gt(0), Le(1)] = 1e-3
    """Peak learning rate."""

    def fit(self, job: WritingJob, watch: Watch) -> Result:
        return learnt(job, watch, self)

    @staticmethod
    def portfolio() -> Sequence[Mapping[str, Any]]:
        return [
            {
                "lr": 1e-3,
                "epochs": 40,
                "label_smoothing": 0.1,
                "batch_tokens": 2048,
                "evaluations": 1,
                "patience": 8,
            }
        ]

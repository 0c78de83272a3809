"""What a task brings that teaches its rows itself, by more than their labels: documents, so far."""

from collections.abc import Sequence
from typing import Any, Protocol, cast, runtime_checkable

from tokenizers import Tokenizer

from sartor.core.likelihood import Truth
from sartor.core.protocols import Floats
from sartor.models.packed import tokenise
from sartor.tasks import TRAINERS
from sartor.tune.api import Objective
from sartor.tune.batching import Inputs, Tokens
from sartor.tune.frozen import FeatureSource
from sartor.tune.job import Job


@runtime_checkable
class Teaches(Protocol):
    """The training half of a task whose outputs have words that the model reads while it learns."""

    @property
    def told_by(self) -> int:
        """Documents that each row is told by."""
        ...

    def lesson(
        self, model: Any, passages: tuple[Inputs, Inputs], seen: tuple[Floats, Floats], truth: Any
    ) -> tuple[Truth, Objective]:
        """(what stands for the truth of the training rows, the loss that reads it).

        Args:
            model: From the task's `build`, or the upper part of it.
            passages: The outputs' words, as a step reads them and in full.
            seen: What the untuned encoder makes of rows and outputs, (…, features).
            truth: Of the rows.
        """
        ...


class ReadsPassages(Protocol):
    """A frozen encoder that reads documents too."""

    def passages(self, texts: Sequence[str], layers: Sequence[int]) -> Floats:
        """As `features`, with the prefix of documents."""
        ...


def passages_a_row(task: str) -> int:
    """Documents that a training row is told by; 0 where the outputs are no documents.

    Args:
        task: Name in the tasks registry.
    """
    found = TRAINERS.get(task)()
    return found.told_by if isinstance(found, Teaches) else 0


def words_of(job: Job) -> list[str]:
    """What the outputs say: their descriptions, else their names."""
    return [job.descriptions.get(name, name) for name in job.outputs]


def passages(job: Job, tokenizer: Tokenizer, pad: int) -> Tokens:
    """The outputs' words as token ids, with the prefix of documents."""
    tokenizer.enable_truncation(job.cut)
    tokenizer.no_padding()
    return Tokens(tokenise(tokenizer, words_of(job), job.backbone.passage), pad)


def teaching(
    job: Job, model: Any, read: tuple[Inputs, Inputs], source: FeatureSource
) -> tuple[Truth, Objective]:
    """The lesson of a job whose task teaches.

    Args:
        job: Its descriptions are the outputs' words.
        model: What will be trained.
        read: The outputs' words, as a step reads them and in full.
        source: The cached encoder: rows and documents are read once for all jobs.
    """
    words = words_of(job)
    layers = job.settings.task.resolve(job.backbone.layers)
    reader = cast("ReadsPassages", source)
    seen = source.features(job.train.texts, layers), reader.passages(words, layers)
    return cast("Teaches", job.settings.task).lesson(model, read, seen, job.truth(job.train))

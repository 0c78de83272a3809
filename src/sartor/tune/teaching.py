"""What a task brings that teaches its rows itself, by more than their labels: documents, so far."""

from collections.abc import Sequence
from typing import Any, Protocol, cast, runtime_checkable

from tokenizers import Tokenizer
from torch import nn

from sartor.core.likelihood import Truth
from sartor.core.protocols import Floats
from sartor.models.packed import tokenise
from sartor.tune.api import Objective
from sartor.tune.batching import Tokens
from sartor.tune.frozen import FeatureSource
from sartor.tune.job import Job


@runtime_checkable
class Teaches(Protocol):
    """The training half of a task whose outputs have words that the model reads while it learns."""

    def lesson(
        self, model: Any, passages: Tokens, seen: tuple[Floats, Floats], truth: Any
    ) -> tuple[Truth, Objective]:
        """(what stands for the truth of the training rows, the loss that reads it).

        Args:
            model: From the task's `build`.
            passages: The outputs' words as token ids.
            seen: What the untuned encoder makes of rows and outputs, (…, features).
            truth: Of the rows.
        """
        ...


class ReadsPassages(Protocol):
    """A frozen encoder that reads documents too."""

    def passages(self, texts: Sequence[str], layers: Sequence[int]) -> Floats:
        """As `features`, with the prefix of documents."""
        ...


def teaching(
    job: Job, opened: tuple[nn.Module, Tokenizer], source: FeatureSource, truth: Truth
) -> tuple[Truth, Objective]:
    """The lesson of a job whose task teaches.

    Args:
        job: Its descriptions are the outputs' words.
        opened: The model that will be trained, and the tokenizer.
        source: The cached encoder: rows and documents are read once for all jobs.
        truth: Of the training rows.
    """
    model, tokenizer = cast("Any", opened[0]), opened[1]
    words = [job.descriptions.get(name, name) for name in job.outputs]
    tokenizer.enable_truncation(job.cut)
    tokenizer.no_padding()
    pad = model.encoder.config.pad_token_id or 0
    passages = Tokens(tokenise(tokenizer, words, job.backbone.passage), pad)
    layers = model.layers
    reader = cast("ReadsPassages", source)
    seen = source.features(job.train.texts, layers), reader.passages(words, layers)
    return cast("Teaches", job.settings.task).lesson(model, passages, seen, truth)

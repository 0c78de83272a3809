"""One fit to do, and what it leaves: shared by the ways of fitting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tokenizers import Tokenizer
from torch import nn

from sartor.core.columns import TableCode
from sartor.core.likelihood import Truth
from sartor.core.protocols import Floats
from sartor.core.types import Backbone, Candidate, Examples
from sartor.tasks import TASKS
from sartor.tune.published import Published
from sartor.tune.settings import Settings


@dataclass(frozen=True, slots=True)
class Job:
    """A candidate with its settings read and its rows.

    Args:
        candidate: What to fit.
        settings: The candidate's, validated.
        backbone: The candidate's.
        train: Training rows.
        validation: Rows that choose and stop.
        outputs: Names of the model's outputs, in order.
        cut: Tokens a text is cut at.
        task: Name in the tasks registry.
        descriptions: What an output means, in words, where it is known; of documents what they say.
        code: How the rows' columns become numbers; None where they have none.
    """

    candidate: Candidate
    settings: Settings
    backbone: Backbone
    train: Examples
    validation: Examples
    outputs: Sequence[str]
    cut: int
    task: str
    descriptions: Mapping[str, str] = field(default_factory=dict[str, str])
    code: TableCode | None = None

    def truth(self, examples: Examples) -> Truth:
        """The rows' targets as the task's loss takes them; see `core.likelihood`.

        Raises:
            DataError: If a label is not among the outputs.
        """
        return TASKS.get(self.task)().truth(examples, self.outputs)


@dataclass(frozen=True, slots=True)
class Result:
    """What a way of fitting leaves, before it is written.

    Args:
        model: Folded, on the CPU, in eval mode; it writes itself with `save(folder)`.
        tokenizer: Of the backbone, without padding.
        validation_logits: (validation rows, outputs), of the model in float32.
        train_logits: (training rows, outputs); rows that were not scored are NaN.
        history: One mapping an evaluation; empty for closed forms.
        cut: Steps after which the clock cut the fit; None if it is whole.
        findings: JSON values: what the method learnt besides the weights.
        published: How a model that writes was published to read; None of any other.
    """

    model: nn.Module
    tokenizer: Tokenizer
    validation_logits: Floats
    train_logits: Floats
    history: Sequence[dict[str, Any]] = field(default=())
    cut: int | None = None
    findings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    published: Published | None = None

"""One fit to do, and what it leaves: shared by the ways of fitting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import nn

from sartor.core.errors import DataError
from sartor.core.near import near_miss
from sartor.core.protocols import Floats
from sartor.core.types import Backbone, Candidate, Examples
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
    """

    candidate: Candidate
    settings: Settings
    backbone: Backbone
    train: Examples
    validation: Examples
    outputs: Sequence[str]
    cut: int

    def labels(self, examples: Examples) -> NDArray[np.int64]:
        """(rows,) class indices.

        Raises:
            DataError: If a label is not among the outputs.
        """
        return class_indices(examples.target, self.outputs)


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
    """

    model: nn.Module
    tokenizer: Tokenizer
    validation_logits: Floats
    train_logits: Floats
    history: Sequence[dict[str, Any]] = field(default=())
    cut: int | None = None
    findings: Mapping[str, Any] = field(default_factory=dict[str, Any])


def class_indices(labels: Sequence[str], outputs: Sequence[str]) -> NDArray[np.int64]:
    """(rows,) positions of labels among the outputs.

    Raises:
        DataError: If a label is not among them.
    """
    index = {name: i for i, name in enumerate(outputs)}
    for label in labels:
        if label not in index:
            raise DataError(
                f"label {label!r} is not among the outputs.", fix=near_miss(label, index)
            )
    return np.array([index[label] for label in labels], dtype=np.int64)

"""What stages need of one another. `pipeline` and `search` hand the implementations down."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sartor.core.events import Emit
from sartor.core.types import Candidate, Examples

Floats = NDArray[np.float32]


class Predictor(Protocol):
    """Anything that answers: a bundle in the runtime, or a rival's recorded answers."""

    def predict(self, rows: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        """One answer a row, in order, in the task's response form.

        Args:
            rows: Input role to value, e.g. {"text": "…"}.
        """
        ...


class Encoder(Protocol):
    """Texts to vectors, through the activation cache."""

    def encode(self, texts: Sequence[str]) -> Floats:
        """(texts, layers + 1, width) mean-pooled hidden states; index 0 is the embedding layer."""
        ...


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a fit leaves.

    Args:
        folder: Holds the folded model: everything `shrink.export` needs.
        validation_logits: (validation rows, outputs), before any decision rule.
        train_logits: (training rows, outputs), for the gap between training and validation.
        seconds: Wall time of the fit.
        history: One mapping an evaluation (step, loss, validation score); empty for closed forms.
        cut: Steps after which the clock or the search cut the fit; None if it is whole.
        pruned: Whether it was the search.
    """

    folder: Path
    validation_logits: Floats
    train_logits: Floats
    seconds: float
    history: Sequence[Mapping[str, float]] = ()
    cut: int | None = None
    pruned: bool = False


class Fit(Protocol):
    """Trains a candidate; resumable, and seeded by the candidate."""

    def __call__(
        self, candidate: Candidate, train: Examples, validation: Examples, emit: Emit
    ) -> Fitted: ...

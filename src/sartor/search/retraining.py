"""What compressors train with: a run's tuner, bound to the run's rows. Implements `shrink`'s
`Retrain`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sartor.core.events import Emit
from sartor.core.protocols import Fitted, Floats
from sartor.core.types import Examples
from sartor.tune.again import Again
from sartor.tune.fit import Tuner


@dataclass(frozen=True, slots=True)
class Retraining:
    """Trains saved models on; what was trained once is found again.

    Args:
        tuner: Of the run: its workspace, deadline and facts hold.
        train: Rows to learn from, those of `Bench.train`.
        validation: Rows that choose the epoch.
        prefix: Put before every text.
        max_length: Tokens a text is cut at.
        seed: Of the run.
        emit: Progress.
    """

    tuner: Tuner
    train: Examples
    validation: Examples
    prefix: str
    max_length: int
    seed: int
    emit: Emit

    def __call__(
        self, start: Path, settings: Mapping[str, Any], teacher: Floats | None = None
    ) -> Fitted:
        """See `shrink.api.Retrain`; its errors are those of `Tuner.again`."""
        again = Again(start, settings, self.seed, self.prefix, self.max_length, teacher)
        return self.tuner.again(again, self.train, self.validation, self.emit)

"""How a reply comes: when its first words are there, and how fast the others follow.

Each of six fresh processes gives one figure, as for `latency`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sartor.core.errors import Fault
from sartor.core.types import TargetKind
from sartor.judge.api import CHECKS, Measurement, Subject
from sartor.judge.limits import limit_fault, needs_bundle, over_processes
from sartor.judge.statistic import Floats
from sartor.need.criterion import Criterion

METRICS: Mapping[str, str] = {
    "first_token_p95_ms": "time within which 95 % of replies begin, in milliseconds",
    "tokens_per_s": "tokens a second of a reply once it has begun, in the median reply",
}
_FIGURES: Mapping[str, Callable[[Floats], Floats]] = {
    "first_token_p95_ms": lambda found: np.percentile(found[..., 0], 95, axis=1),
    "tokens_per_s": lambda found: np.median(found[..., 1], axis=1),
}


@CHECKS.add
@dataclass(frozen=True, slots=True)
class Streaming:
    """Reads how the runtime streamed."""

    metrics: Mapping[str, str] = field(default_factory=lambda: METRICS)
    target: TargetKind | None = "text"

    def fault(self, criterion: Criterion, outputs: Sequence[str]) -> Fault | None:
        return limit_fault(criterion)

    def measure(self, criterion: Criterion, subject: Subject) -> Measurement:
        if subject.streaming is None:
            raise needs_bundle(criterion, "to time")
        figures = _FIGURES[criterion.metric](subject.streaming())
        return over_processes(figures, subject.conditions)

"""Latency and throughput of the bundle in the serving runtime.

Each of six fresh processes gives one figure, or of twelve where one was slowed down; the value is
their median (see `intervals.spread` for the interval). It holds for the machine and the conditions
it was taken under.
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
    "latency_p50_ms": "time that half of the requests stay below, in milliseconds",
    "latency_p95_ms": "time that 95 % of the requests stay below, in milliseconds",
    "latency_p99_ms": "time that 99 % of the requests stay below, in milliseconds",
    "throughput_per_s": "requests a second, one after another in one process",
}

_FIGURES: Mapping[str, Callable[[Floats], Floats]] = {
    "latency_p50_ms": lambda ms: np.percentile(ms, 50, axis=1),
    "latency_p95_ms": lambda ms: np.percentile(ms, 95, axis=1),
    "latency_p99_ms": lambda ms: np.percentile(ms, 99, axis=1),
    "throughput_per_s": lambda ms: 1000 / ms.mean(axis=1),
}


@CHECKS.add
@dataclass(frozen=True, slots=True)
class Latency:
    """Reads the timing that the runtime took."""

    metrics: Mapping[str, str] = field(default_factory=lambda: METRICS)
    target: TargetKind | None = None

    def fault(self, criterion: Criterion, outputs: Sequence[str]) -> Fault | None:
        return limit_fault(criterion)

    def measure(self, criterion: Criterion, subject: Subject) -> Measurement:
        if subject.timing is None:
            raise needs_bundle(criterion, "to time")
        return over_processes(_FIGURES[criterion.metric](subject.timing()), subject.conditions)

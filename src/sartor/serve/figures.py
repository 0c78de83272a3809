"""What each model of a server did: answers, failures, time taken, and how its shadow compares.

Times are counted in buckets whose borders grow by a tenth, so that those of several servers add up
and a percentile is right to a twentieth.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

_GROWTH, _LEAST_MS = math.log(1.1), 0.01
_MOST_MODELS = 32
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")
_BORDERS_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


@dataclass(slots=True)
class Counts:
    """Of one model: requests by how they ended, and the time that answers took."""

    requests: int = 0
    """Answered."""
    errors: int = 0
    """Not answered, by a fault of the model or of the server."""
    shed: int = 0
    """Turned away because too much waited."""
    seconds: float = 0.0
    """Time of all answers."""
    times: Counter[int] = field(default_factory=Counter[int])
    """Bucket to answers."""

    def answered(self, seconds: float) -> None:
        self.requests += 1
        self.seconds += seconds
        self.times[_bucket(seconds)] += 1

    def refused(self, status: int) -> None:
        """Count a request that got this status; a client's own mistake is not the model's."""
        if status in (429, 503):
            self.shed += 1
        elif status >= 500:
            self.errors += 1

    def percentile_ms(self, share: float) -> float | None:
        """The time within which this share (0 to 1) of the answers came; None without any.

        Right to about a twentieth.
        """
        left = share * self.times.total()
        for bucket in sorted(self.times):
            left -= self.times[bucket]
            if left <= 0:
                return _LEAST_MS * math.exp((bucket + 0.5) * _GROWTH)
        return None


@dataclass(slots=True)
class Compared:
    """A shadow beside the live model, in rows."""

    agreed: int = 0
    differed: int = 0
    dropped: int = 0
    """Those that it had no time for, or whose answers nothing could be compared with."""
    failed: int = 0
    """Copies that it could not answer."""


class Figures(Collector):
    """The counts of one server, by model; also what Prometheus reads of them."""

    def __init__(self) -> None:
        self.models: dict[str, Counts] = {}
        self.shadows: dict[tuple[str, str], Compared] = {}
        """(live, shadow) to how they compare."""

    def of(self, model: str) -> Counts:
        """The counts of a model, by its id; those that nobody asked for longest give way."""
        return _entry(self.models, model, Counts)

    def against(self, live: str, shadow: str) -> Compared:
        return _entry(self.shadows, (live, shadow), Compared)

    def collect(self) -> Iterator[Metric]:
        ended = CounterMetricFamily(
            "sartor_model_requests", "Requests by model and how they ended.", None, ["model", "end"]
        )
        took = HistogramMetricFamily(
            "sartor_model_seconds", "Time to an answer, by model.", labels=["model"]
        )
        compared = CounterMetricFamily(
            "sartor_shadow_rows",
            "Rows that a shadow answered too, by how it compares with the live model.",
            None,
            ["live", "shadow", "end"],
        )
        for model, counts in [*self.models.items()]:
            ends = {"answered": counts.requests, "error": counts.errors, "shed": counts.shed}
            for end, count in ends.items():
                ended.add_metric([model, end], count)
            took.add_metric([model], _cumulated(counts.times), counts.seconds)
        for (live, shadow), found in [*self.shadows.items()]:
            for end in ("agreed", "differed", "dropped", "failed"):
                compared.add_metric([live, shadow, end], getattr(found, end))
        yield from (ended, took, compared)


def _entry(found: dict[_Key, _Value], key: _Key, kind: type[_Value]) -> _Value:
    value = found.pop(key, None) or kind()
    while len(found) >= _MOST_MODELS:
        del found[next(iter(found))]
    found[key] = value  # Last, so that one in use is never the oldest.
    return value


def _bucket(seconds: float) -> int:
    return max(0, int(math.log(max(seconds * 1e3 / _LEAST_MS, 1.0)) / _GROWTH))


def _cumulated(times: Mapping[int, int]) -> list[tuple[str, float]]:
    """Prometheus's buckets; a border cuts ours where it falls, so each is right to a tenth."""
    edges = [(str(border), _bucket(border)) for border in _BORDERS_S]
    found = {edge: sum(n for at, n in times.items() if at < most) for edge, most in edges}
    return [*((edge, float(n)) for edge, n in found.items()), ("+Inf", float(sum(times.values())))]

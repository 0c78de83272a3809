"""What Prometheus reads at /metrics; one registry a server, so that two do not mix."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from sartor.serve.cache import Cache

_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)

__all__ = ["CONTENT_TYPE_LATEST", "Metrics"]


class Metrics:
    """Counts of one server."""

    def __init__(
        self,
        waiting_s: Callable[[], float],
        unrecorded: Callable[[], float],
        cache: Cache | None = None,
    ) -> None:
        self._registry = CollectorRegistry()
        self._counted: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._requests = Counter(
            "sartor_requests",
            "Requests by route and status.",
            ["route", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "sartor_request_seconds",
            "Time from request to reply.",
            ["route"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._rows = Counter("sartor_rows", "Rows answered.", registry=self._registry)
        self._abstained = Counter(
            "sartor_rows_abstained", "Rows answered with no label.", registry=self._registry
        )
        self._gauge("sartor_waiting_seconds", "Work that waits, in seconds.", waiting_s)
        self._gauge(
            "sartor_unrecorded_requests", "Answered but not written to the store.", unrecorded
        )
        if cache is not None:
            self._registry.register(_Cached(cache))

    def _gauge(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        Gauge(name, meaning, registry=self._registry).set_function(read)

    def replied(self, route: str, status: int, seconds: float) -> None:
        """Count one reply; `route` is a declared path, never what a client made up."""
        # Looking a labelled counter up costs more than counting, so it is looked up once.
        if (route, status) not in self._counted:
            found = self._requests.labels(route, str(status)), self._seconds.labels(route)
            self._counted[route, status] = found
        count, taken = self._counted[route, status]
        count.inc()
        taken.observe(seconds)

    def answered(self, rows: int, abstained: int) -> None:
        self._rows.inc(rows)
        if abstained:
            self._abstained.inc(abstained)

    def text(self) -> bytes:
        return generate_latest(self._registry)


class _Cached(Collector):
    """The cache counts for itself: what is read here is what it says."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def collect(self) -> Iterator[Metric]:
        cache = self._cache
        hits = "Rows answered from the cache, without the model."
        yield CounterMetricFamily("sartor_cache_hits", hits, cache.hits)
        yield CounterMetricFamily("sartor_cache_misses", "Rows that it had not.", cache.misses)
        yield GaugeMetricFamily("sartor_cache_bytes", "Memory that it takes.", cache.bytes)

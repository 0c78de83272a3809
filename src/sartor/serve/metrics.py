"""What Prometheus reads at /metrics; one registry a server, so that two do not mix."""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from sartor.serve.room import Place

_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_SHORT = (0.0005, 0.001, *_BUCKETS)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)

__all__ = ["CONTENT_TYPE_LATEST", "Metrics"]


class Metrics:
    """Counts of one server."""

    def __init__(
        self,
        waiting_s: Callable[[], float],
        allowed_s: Callable[[], float],
        unrecorded: Callable[[], float],
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
        self._batch_rows = self._histogram(
            "sartor_batch_rows", "Rows computed in one batch.", _ROWS
        )
        self._batch_seconds = self._histogram(
            "sartor_batch_seconds", "Time that the model took for one batch.", _SHORT
        )
        self._queue_seconds = self._histogram(
            "sartor_queue_seconds", "Time from a request's parsing to its first batch.", _SHORT
        )
        self._shed = Counter(
            "sartor_shed_requests",
            "Requests refused for want of room, by what was full.",
            ["where"],
            registry=self._registry,
        )
        self._limited = Counter(
            "sartor_rate_limited_requests",
            "Requests refused because their rate limit was used up.",
            registry=self._registry,
        )
        self._feedback = Counter(
            "sartor_feedback", "Feedback that was kept.", registry=self._registry
        )
        self._gauge("sartor_waiting_seconds", "Work that waits, in seconds.", waiting_s)
        self._gauge("sartor_allowed_wait_seconds", "Longest wait that is accepted now.", allowed_s)
        self._gauge(
            "sartor_unrecorded_requests", "Answered but not written to the store.", unrecorded
        )

    def add(self, collector: Collector) -> None:
        """Show also what another part of the server counts."""
        self._registry.register(collector)

    def _gauge(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        Gauge(name, meaning, registry=self._registry).set_function(read)

    def _histogram(self, name: str, meaning: str, buckets: Iterable[float]) -> Histogram:
        return Histogram(name, meaning, buckets=tuple(buckets), registry=self._registry)

    def counted(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """Add a counter that something else keeps."""
        self._registry.register(_Kept(name, meaning, read))

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

    def batched(self, rows: int, seconds: float) -> None:
        """Count one batch; a batcher's `watch`."""
        self._batch_rows.observe(rows)
        self._batch_seconds.observe(seconds)

    def queued(self, seconds: float) -> None:
        """Count how long one request waited for its first batch."""
        self._queue_seconds.observe(seconds)

    def shed(self, where: Place) -> None:
        self._shed.labels(where).inc()

    def limited(self) -> None:
        self._limited.inc()

    def told(self) -> None:
        """Count feedback that was kept."""
        self._feedback.inc()

    def text(self) -> bytes:
        return generate_latest(self._registry)


class _Kept(Collector):
    """A counter whose value is kept elsewhere."""

    def __init__(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        self._name, self._meaning, self._read = name, meaning, read

    def collect(self) -> Iterable[CounterMetricFamily]:
        yield CounterMetricFamily(self._name, self._meaning, value=self._read())

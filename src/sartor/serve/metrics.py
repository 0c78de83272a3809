"""What Prometheus reads at /metrics; one registry a server, so that two do not mix."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)

__all__ = ["CONTENT_TYPE_LATEST", "Metrics"]


class Metrics:
    """Counts of one server."""

    def __init__(self, waiting_s: Callable[[], float], unrecorded: Callable[[], float]) -> None:
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

    def add(self, collector: Collector) -> None:
        """Show also what another part of the server counts."""
        self._registry.register(collector)

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

"""What Prometheus reads of adapters: the store counts for itself."""

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sartor.serve.adapters.graph import AdaptedGraph


class Personal(Collector):
    """Of the bundle that answers; nothing is shown where users have no adapters."""

    def __init__(self, adapted: Callable[[], AdaptedGraph | None]) -> None:
        self._adapted = adapted

    def collect(self) -> Iterator[Metric]:
        if (found := self._adapted()) is None:
            return
        store = found.store
        hit = "Requests whose user's adapter was in memory."
        yield CounterMetricFamily("sartor_adapter_hits", hit, store.hits)
        yield CounterMetricFamily("sartor_adapter_loads", "Adapters read from disk.", store.loads)
        none = "Requests whose user has no adapter."
        yield CounterMetricFamily("sartor_adapter_unknown", none, store.unknown)
        yield GaugeMetricFamily("sartor_adapters", "Adapters in memory.", len(store))
        yield GaugeMetricFamily("sartor_adapter_bytes", "Memory that they take.", store.bytes)

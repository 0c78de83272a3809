"""What Prometheus reads of caches: they count for themselves."""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sartor.serve.cache import Cache


class Hits(Collector):
    """The sum over the caches of a server; nothing is shown where there is none."""

    def __init__(self, caches: Callable[[], Iterable[Cache | None]]) -> None:
        """
        Args:
            caches: Those of the bundles that answer now; None for one without.
        """
        self._caches = caches

    def collect(self) -> Iterator[Metric]:
        if not (caches := [cache for cache in self._caches() if cache is not None]):
            return
        hits, misses, taken = (
            sum(values)
            for values in zip(*((c.hits, c.misses, c.bytes) for c in caches), strict=True)
        )
        what = "Rows answered from the cache, without the model."
        yield CounterMetricFamily("sartor_cache_hits", what, hits)
        yield CounterMetricFamily("sartor_cache_misses", "Rows that it had not.", misses)
        yield GaugeMetricFamily("sartor_cache_bytes", "Memory that it takes.", taken)

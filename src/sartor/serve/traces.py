"""OpenTelemetry spans of a request: the whole, its wait for the model, its time there.

On only where the extra is installed and OpenTelemetry's own variables name a place to send spans
to; otherwise nothing of it is imported. Spans are made when the request has ended, from the times
that were kept, so nothing is measured twice and handlers know nothing of them. They carry what the
log line carries: no text, no key.

https://opentelemetry.io/docs/specs/semconv/http/http-spans/
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from sartor.serve.exchange import Exchange

VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


@dataclass(frozen=True, slots=True)
class Traces:
    """Makes spans; `provider` is OpenTelemetry's `TracerProvider`, which owns their export."""

    provider: Any
    _tracer: Any
    _parent: Any
    _offset_ns: int

    def replied(
        self, exchange: Exchange, headers: Mapping[str, str], start: float, end: float
    ) -> None:
        """Tell of a request that has ended.

        Args:
            exchange: What became of it.
            headers: Its own; `traceparent` joins the span to the caller's trace.
            start: Seconds of `time.perf_counter`.
            end: Likewise.
        """
        trace = import_module("opentelemetry.trace")
        attributes = {
            "http.request.method": exchange.method,
            "http.route": exchange.route,
            "http.response.status_code": exchange.status,
            "sartor.request_id": exchange.id,
            "sartor.rows": exchange.rows,
            "sartor.model": exchange.model,
            "sartor.tenant": exchange.tenant,
        }
        span = self._tracer.start_span(
            f"{exchange.method} {exchange.route}",
            context=self._parent.extract(headers),
            kind=trace.SpanKind.SERVER,
            start_time=self._ns(start),
            attributes={name: value for name, value in attributes.items() if value is not None},
        )
        if exchange.status >= 500:
            span.set_status(trace.StatusCode.ERROR)
        timing = exchange.timing
        if timing and timing.done:
            inside = trace.set_span_in_context(span)
            for name, begun, done in (
                ("queue", timing.asked, timing.begun),
                ("forward", timing.begun, timing.done),
            ):
                inner = self._tracer.start_span(name, context=inside, start_time=self._ns(begun))
                inner.end(self._ns(done))
        span.end(self._ns(end))

    def close(self) -> None:
        """Send what waits. Blocks, for as long as the exporter's own timeout."""
        self.provider.shutdown()

    def _ns(self, seconds: float) -> int:
        return self._offset_ns + round(seconds * 1e9)


def wanted(environment: Mapping[str, str] = os.environ) -> str | None:
    """The variable that asks for traces; None where none does."""
    off = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if off or environment.get("OTEL_TRACES_EXPORTER") == "none":
        return None
    return next((name for name in VARIABLES if environment.get(name)), None)


def open_traces(environment: Mapping[str, str] = os.environ) -> Traces | None:
    """Traces where a variable asks for them and the extra is installed, else None."""
    if wanted(environment) is None:
        return None
    try:
        exporter = import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
        export = import_module("opentelemetry.sdk.trace.export")
    except ImportError:
        return None
    return traces_to(export.BatchSpanProcessor(exporter.OTLPSpanExporter()))


def traces_to(processor: Any) -> Traces:
    """Traces that a span processor takes; sampling goes by OpenTelemetry's variables."""
    sdk = import_module("opentelemetry.sdk.trace")
    resources = import_module("opentelemetry.sdk.resources")
    propagator = import_module("opentelemetry.trace.propagation.tracecontext")
    # A name that the environment gives goes before ours.
    named = resources.Resource({"service.name": "sartor"})
    provider = sdk.TracerProvider(resource=named.merge(resources.OTELResourceDetector().detect()))
    provider.add_span_processor(processor)
    return Traces(
        provider=provider,
        _tracer=provider.get_tracer("sartor"),
        _parent=propagator.TraceContextTextMapPropagator(),
        _offset_ns=time.time_ns() - time.perf_counter_ns(),
    )

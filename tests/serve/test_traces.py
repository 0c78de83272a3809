"""Spans of a request: in the caller's trace, with their times, and nothing where nobody asked."""

import subprocess
import sys

import pytest

from sartor.core.events import Note
from sartor.serve import app as application
from sartor.serve.exchange import Exchange
from sartor.serve.run import prepare
from sartor.serve.settings import ServeSettings
from sartor.serve.traces import VARIABLES, open_traces, traces_to, wanted
from tests.serve.conftest import Serving

PLACE = {VARIABLES[0]: "http://127.0.0.1:9"}
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def test_a_request_is_a_span_in_the_callers_trace_with_its_queue_and_forward_in_it(
    serving: Serving, monkeypatch
):
    sdk = pytest.importorskip("opentelemetry.sdk.trace.export")
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    exporter = memory.InMemorySpanExporter()
    monkeypatch.setattr(
        application, "open_traces", lambda: traces_to(sdk.SimpleSpanProcessor(exporter))
    )
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    with serving() as running:
        body = {"inputs": [{"text": "money secret"}]}
        asked = running.client.post("/v1/predict", json=body, headers=headers)
        running.client.get("/nothing")
    spans = exporter.get_finished_spans()
    queue, forward, request, other = spans
    assert [span.name for span in spans] == [
        "queue",
        "forward",
        "POST /v1/predict",
        "GET other",
    ]
    assert f"{request.context.trace_id:032x}" == TRACE
    assert f"{request.parent.span_id:016x}" == PARENT
    for inner in (queue, forward):
        assert inner.parent.span_id == request.context.span_id
    assert request.start_time <= queue.start_time <= queue.end_time == forward.start_time
    assert forward.start_time < forward.end_time <= request.end_time
    assert request.attributes["http.response.status_code"] == 200
    assert request.attributes["sartor.rows"] == 1
    assert request.attributes["sartor.request_id"] == asked.headers["x-request-id"]
    assert request.resource.attributes["service.name"] == "sartor"
    assert "secret" not in "".join(span.to_json() for span in spans)
    assert other.parent is None
    assert other.attributes["http.response.status_code"] == 404


def test_a_fault_of_the_server_is_an_error_and_a_clients_is_not():
    sdk = pytest.importorskip("opentelemetry.sdk.trace.export")
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    exporter = memory.InMemorySpanExporter()
    traces = traces_to(sdk.SimpleSpanProcessor(exporter))
    for status in (200, 404, 500):
        traces.replied(Exchange("a", True, "GET", "/", "public", status=status), {}, 1.0, 2.0)
    spans = exporter.get_finished_spans()
    assert [span.status.status_code.name for span in spans] == ["UNSET", "UNSET", "ERROR"]
    assert {span.end_time - span.start_time for span in spans} == {1_000_000_000}
    traces.close()


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({}, None),
        (PLACE, VARIABLES[0]),
        ({VARIABLES[1]: "http://127.0.0.1:9/v1/traces"}, VARIABLES[1]),
        (PLACE | {"OTEL_SDK_DISABLED": "true"}, None),
        (PLACE | {"OTEL_TRACES_EXPORTER": "none"}, None),
        ({VARIABLES[0]: ""}, None),
    ],
)
def test_opentelemetrys_own_variables_decide(environment: dict[str, str], name: str | None):
    assert wanted(environment) == name
    if name is None:
        assert open_traces(environment) is None


START = """
import sys
from sartor.serve.run import prepare
from sartor.serve.settings import ServeSettings
prepare(ServeSettings(bundle=sys.argv[1], port=0))[1].close()
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""


def test_without_the_variables_nothing_of_it_is_imported(bundle, monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    command = [sys.executable, "-c", START, str(bundle.folder)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.strip() == "[]"


def test_asked_for_and_not_installed_is_said_and_keeps_nobody_from_serving(bundle, monkeypatch):
    monkeypatch.setenv(*next(iter(PLACE.items())))
    for name in ("opentelemetry.exporter", "opentelemetry.exporter.otlp.proto.http.trace_exporter"):
        monkeypatch.setitem(sys.modules, name, None)
    notes: list[str] = []
    _, listener = prepare(
        ServeSettings(bundle=str(bundle.folder), port=0),
        lambda event: notes.append(event.text) if isinstance(event, Note) else None,
    )
    listener.close()
    assert any("sartor[otel]" in note and VARIABLES[0] in note for note in notes)

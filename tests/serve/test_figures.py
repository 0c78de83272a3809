"""Counts by model: what is a model's fault, how long it took, and what Prometheus reads of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from sartor.serve.figures import Counts, Figures

SECONDS = st.floats(1e-4, 20.0)


def test_only_what_is_not_the_clients_mistake_counts_against_a_model():
    counts = Counts()
    for status in (400, 404, 413, 422, 429, 500, 502, 503, 503, 507):
        counts.refused(status)
    assert (counts.errors, counts.shed, counts.requests) == (3, 3, 0)


@given(st.lists(SECONDS, min_size=1, max_size=200), st.sampled_from([0.05, 0.5, 0.95, 1.0]))
def test_a_percentile_is_right_to_a_twentieth(taken: list[float], share: float):
    counts = Counts()
    for seconds in taken:
        counts.answered(seconds)
    needed = max(1, -int(-share * len(taken) // 1))
    exact = sorted(taken)[needed - 1] * 1e3
    assert counts.percentile_ms(share) == pytest.approx(exact, rel=0.051)


def test_there_is_no_percentile_of_nothing():
    assert Counts().percentile_ms(0.95) is None


def test_a_model_in_use_keeps_its_counts_while_others_come_and_go():
    figures = Figures()
    for number in range(100):
        figures.of("live").answered(0.01)
        figures.of(f"canary {number}").answered(0.01)
    assert figures.of("live").requests == 100
    assert len(figures.models) == 32
    assert "canary 0" not in figures.models


def test_prometheus_reads_ends_times_and_agreement():
    figures = Figures()
    for seconds in (0.001, 0.004, 0.03, 9.0):
        figures.of("m").answered(seconds)
    figures.of("m").refused(503)
    figures.against("m", "s").agreed += 3
    registry = CollectorRegistry()
    registry.register(figures)
    text = generate_latest(registry).decode()
    for line in (
        'sartor_model_requests_total{end="answered",model="m"} 4.0',
        'sartor_model_requests_total{end="shed",model="m"} 1.0',
        'sartor_model_seconds_bucket{le="0.005",model="m"} 2.0',
        'sartor_model_seconds_bucket{le="5.0",model="m"} 3.0',
        'sartor_model_seconds_bucket{le="+Inf",model="m"} 4.0',
        'sartor_model_seconds_count{model="m"} 4.0',
        'sartor_shadow_rows_total{end="agreed",live="m",shadow="s"} 3.0',
    ):
        assert line in text

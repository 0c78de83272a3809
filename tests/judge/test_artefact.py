import numpy as np
import pytest

from sartor.judge.verdicts import judge
from tests.judge.rows import criteria, subject


@pytest.fixture
def bundle(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "graph.onnx").write_bytes(b"x" * 1_500_000)
    (tmp_path / "manifest.json").write_bytes(b"y" * 500_000)
    return tmp_path


def artefact(folder=None, timing=None):
    found = subject(["a"], ["a"])
    return type(found)(
        examples=found.examples,
        answers=found.answers,
        outputs=found.outputs,
        folder=None if folder is None else str(folder),
        timing=timing,
        conditions="this machine, batch 1, 2 threads",
    )


def test_the_size_is_every_byte_of_the_folder_and_exact(bundle):
    met, unmet = judge(criteria("size_mb <= 2", "size_mb < 2"), artefact(bundle))
    assert (met.value, met.low, met.high, met.n) == (2.0, 2.0, 2.0, 0)
    assert (met.state, unmet.state) == ("met", "unmet")


def test_a_latency_is_the_median_process_and_the_interval_the_range_of_processes():
    ms = np.array([[1.0] * 94 + [k] * 6 for k in (5.0, 6.0, 7.0, 8.0, 9.0, 30.0)])
    p95, p50, rate = judge(
        criteria("latency_p95_ms <= 20", "latency_p50_ms <= 20", "throughput_per_s >= 100"),
        artefact(timing=lambda: ms),
    )
    assert (p95.value, p95.low, p95.high, p95.n) == (7.5, 5.0, 30.0, 6)
    assert p95.state == "unproven"
    assert p95.note == "this machine, batch 1, 2 threads"
    assert (p50.value, p50.state) == (1.0, "met")
    assert rate.low == pytest.approx(1000 / ms[5].mean())


def test_one_timing_serves_all_latency_criteria():
    calls = []

    def timing():
        calls.append(1)
        return np.ones((6, 10))

    judge(criteria("latency_p95_ms <= 2", "latency_p50_ms <= 2"), artefact(timing=timing))
    assert len(calls) == 1


def test_nothing_is_timed_when_no_criterion_asks():
    def timing():
        raise AssertionError("was timed")

    (verdict,) = judge(criteria("accuracy >= 0.1"), artefact(timing=timing))
    assert verdict.n == 1


def test_looks_at_the_test_rows_do_not_wear_the_scales(bundle):
    (verdict,) = judge(criteria("size_mb <= 2"), artefact(bundle), look=9)
    assert verdict.state == "met"

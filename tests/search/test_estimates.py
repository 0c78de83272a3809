"""Predicted costs: ranges that grow with what must be computed."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from sartor.core.types import Backbone
from sartor.search.estimates import Work, estimate, finishing

SMALL = Backbone("b", "folder", "", "0", "MIT", ("en",), 22_700_000, 6, 384)
works = st.builds(
    Work,
    train_tokens=st.integers(1, 10**8),
    validation_tokens=st.integers(1, 10**7),
    uncached_tokens=st.integers(0, 10**8),
    gflops=st.floats(1, 1e5),
)
reads = st.sampled_from(["activations", "tokens"])


@given(works, reads, st.integers(1, 20))
def test_ranges_are_ranges_of_positive_numbers(work: Work, what: str, epochs: int):
    found = estimate(SMALL, what, epochs, work)
    for each in (found.seconds, found.memory_mb, found.size_mb):
        assert 0 < each.low < each.high


@given(works, st.integers(1, 20), st.integers(2, 5))
def test_more_rows_and_more_epochs_take_longer(work: Work, epochs: int, times: int):
    base = estimate(SMALL, "tokens", epochs, work)
    for dearer in (
        estimate(SMALL, "tokens", epochs * times, work),
        estimate(SMALL, "tokens", epochs, replace(work, train_tokens=work.train_tokens * times)),
        estimate(replace(SMALL, layers=6 * times), "tokens", epochs, work),
    ):
        assert dearer.seconds.low > base.seconds.low
        assert dearer.seconds.high > base.seconds.high


@given(works, st.integers(1, 20))
def test_a_head_costs_only_what_is_not_cached_yet(work: Work, epochs: int):
    cached = estimate(SMALL, "activations", epochs, replace(work, uncached_tokens=0))
    assert cached.seconds.high <= 6
    fresh = estimate(SMALL, "activations", 1, replace(work, uncached_tokens=10**8))
    assert fresh.seconds.low > cached.seconds.low


@given(works, reads)
def test_a_faster_machine_is_never_slower(work: Work, what: str):
    slow = estimate(SMALL, what, 3, work)
    fast = estimate(SMALL, what, 3, replace(work, gflops=2 * work.gflops))
    assert fast.seconds.high <= slow.seconds.high
    assert fast.memory_mb == slow.memory_mb


def test_the_real_minilm_bundle_lies_within_its_predicted_size():
    # Exported MiniLM: 22 MB in int8, 88 MB in float32, each with a tokenizer of 0.7 MB.
    found = estimate(SMALL, "activations", 1, Work(1, 1, 1, 100.0)).size_mb
    assert found.low < 22.7
    assert found.high > 88.7
    assert finishing().low > 0

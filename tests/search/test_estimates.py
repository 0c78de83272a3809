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
reads = st.sampled_from(["activations", "states", "tokens"])


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


@given(works, st.integers(1, 20), st.integers(0, 5))
def test_training_the_top_on_cached_states_costs_less_the_fewer_layers_it_trains(
    work: Work, epochs: int, frozen: int
):
    cached = replace(work, uncached_tokens=0)
    some = estimate(SMALL, "states", epochs, cached, frozen=frozen)
    fewer = estimate(SMALL, "states", epochs, cached, frozen=frozen + 1)
    assert fewer.seconds.high < some.seconds.high
    assert fewer.memory_mb.high < some.memory_mb.high
    # The start is the same, and no layer is run that a fit of all would not run.
    assert some.seconds.high <= estimate(SMALL, "tokens", epochs, cached).seconds.high


def test_states_are_encoded_once_and_those_without_room_in_every_epoch():
    work = Work(100_000, 10_000, 110_000, 100.0)
    fresh = {n: estimate(SMALL, "states", n, work, frozen=4).seconds.low for n in (1, 2, 3)}
    done = replace(work, uncached_tokens=0)
    ready = {n: estimate(SMALL, "states", n, done, frozen=4).seconds.low for n in (1, 2, 3)}
    tight = replace(work, room=2 * SMALL.width * 55_000)
    again = {n: estimate(SMALL, "states", n, tight, frozen=4).seconds.low for n in (1, 2, 3)}
    encoding = fresh[1] - ready[1]
    assert encoding > 0
    assert abs(fresh[3] - ready[3] - encoding) < 1e-6
    assert again[3] - again[2] > 1.1 * (fresh[3] - fresh[2])


def test_the_disk_that_states_take_is_two_bytes_a_number_within_the_caches_bound():
    work = Work(13_000_000, 1_300_000, 0, 100.0)
    assert estimate(SMALL, "states", 3, work, frozen=4).disk_mb == 14_300_000 * 384 * 2 / 1e6
    bounded = estimate(SMALL, "states", 3, replace(work, room=8e9), frozen=4)
    assert bounded.disk_mb == 8_000
    assert estimate(SMALL, "tokens", 3, work).disk_mb == 0

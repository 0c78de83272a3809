"""Cascades: the pair and threshold against brute force, and how many rows a bound lets climb."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sartor.core.likelihood import fit_temperature
from sartor.search.cascading import Latencies, Pair, affordable, choose_switch
from sartor.search.pool import losses


def pair_of(seed: int, rows: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """(stack, truth): a weak model and a better one, each with errors of its own."""
    draw = np.random.default_rng(seed)
    truth = draw.integers(0, 3, rows)
    stack = draw.normal(size=(2, rows, 3))
    stack[0, np.arange(rows), truth] += 0.7
    stack[1, np.arange(rows), truth] += 1.5
    return stack.astype(np.float32), truth.astype(np.intp)


def confidence(z: np.ndarray) -> np.ndarray:
    p = np.exp(z - z.max(1, keepdims=True))
    return (p / p.sum(1, keepdims=True)).max(1)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([1.0, 0.5, 0.1]))
def test_no_threshold_within_the_share_has_a_lower_log_loss(seed: int, most: float):
    stack, truth = pair_of(seed)
    found = choose_switch(stack, truth, [Pair(0, 1, most)])
    cheap, dear = (z.astype(float) / fit_temperature(z, truth) for z in stack)
    sure = confidence(cheap)

    def loss(threshold: float) -> float:
        mixed = np.where((sure < threshold)[:, None], dear, cheap)
        return float(losses(mixed, truth).mean())

    every = [t for t in [*sure, 2.0] if (sure < t).mean() <= most]
    assert loss(found.threshold) <= min(map(loss, every)) + 1.1e-4
    assert found.share == pytest.approx((sure < found.threshold).mean())
    assert found.share <= most
    by_hand = np.where((sure < found.threshold)[:, None], dear, cheap)
    np.testing.assert_allclose(found.logits(stack), by_hand, rtol=1e-5, atol=1e-6)


def test_of_several_pairs_the_best_one_is_chosen():
    stack, truth = pair_of(3, rows=400)
    stack = np.concatenate([stack, np.zeros_like(stack[:1])])
    assert choose_switch(stack, truth, [Pair(0, 2), Pair(2, 1, 0.3), Pair(0, 1)]).members == [0, 1]


def test_nobody_climbs_to_a_model_that_knows_no_more():
    stack, truth = pair_of(4)
    found = choose_switch(np.stack([stack[0], stack[0]]), truth, [Pair(0, 1)])
    assert found.share == 0
    assert found.trivial
    np.testing.assert_allclose(
        found.logits(stack)[0], stack[0, 0] / found.temperatures[0], rtol=1e-6
    )


def test_no_threshold_lies_on_a_row():
    stack, truth = pair_of(5)
    stack[0, :20] = stack[0, 0]  # as sure as one another: they climb together or not at all
    found = choose_switch(stack, truth, [Pair(0, 1)])
    sure = confidence(stack[0].astype(float) / found.temperatures[0])
    assert np.abs(sure - found.threshold).min() > 1e-7
    assert len({bool(c) for c in sure[:20] < found.threshold}) == 1


DEAR = np.full((6, 100), 10.0)


def within(metric: Callable[[Latencies], float], bound: float):
    return lambda change: metric(change(DEAR)) <= bound


@pytest.mark.parametrize(
    ("metric", "bound", "low", "high"),
    [
        (lambda ms: np.percentile(ms, 95), 5.0, 0.005, 0.03),
        (lambda ms: np.percentile(ms, 50), 5.0, 0.3, 0.45),
        (np.mean, 5.0, 0.2, 0.35),
        (np.mean, 100.0, 0.8, 0.8),
        (np.median, 0.5, 0.0, 0.0),
    ],
    ids=["95th percentile", "median", "mean", "fast enough", "cheap one too slow"],
)
def test_so_many_rows_may_climb_that_luck_does_not_break_the_bound(
    metric: Callable[[Latencies], float], bound: float, low: float, high: float
):
    assert low <= affordable(within(metric, bound), 0.1, 400) <= high


def test_fewer_rows_to_tell_the_share_by_let_fewer_climb():
    def share(rows: int) -> float:
        return affordable(within(lambda ms: float(np.percentile(ms, 50)), 5.0), 0.1, rows)

    assert share(60) < share(4000)

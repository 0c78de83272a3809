"""Pooling: greedy selection against brute force, and weights that were chosen by luck."""

from itertools import combinations_with_replacement

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sartor.core.likelihood import fit_temperature
from sartor.search.pool import ROUNDS, choose, cross_fitted, split_in_halves


def models(seed: int, count: int, rows: int, classes: int, skill: float = 1.0):
    """(stack, truth): models that know something, each with errors of its own."""
    draw = np.random.default_rng(seed)
    truth = draw.integers(0, classes, rows)
    stack = draw.normal(size=(count, rows, classes))
    stack[:, np.arange(rows), truth] += skill
    return stack.astype(np.float32), truth.astype(np.intp)


def loss(ready: np.ndarray, picks: tuple[int, ...], truth: np.ndarray) -> float:
    """Log-loss of the mean of the picked models' calibrated logits, computed the long way."""
    mean = np.mean([ready[k] for k in picks], axis=0)
    p = np.exp(mean) / np.exp(mean).sum(1, keepdims=True)
    return float(-np.log(p[np.arange(len(truth)), truth]).mean())


def calibrated(stack: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return np.stack([z.astype(np.float64) / fit_temperature(z, truth) for z in stack])


def picked(weights: np.ndarray) -> tuple[int, ...]:
    """The shortest list of picks with these weights."""
    for count in range(1, ROUNDS + 1):
        times = weights * count
        if np.allclose(times, times.round(), atol=1e-9):
            return tuple(np.repeat(np.arange(len(weights)), times.round().astype(int)).tolist())
    raise AssertionError(f"{weights} are not shares of at most {ROUNDS} picks")


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(2, 4))
def test_the_greedy_choice_lies_between_the_best_single_and_the_best_of_all_small_mixtures(
    seed: int, count: int, classes: int
):
    stack, truth = models(seed, count, 25, classes)
    ready = calibrated(stack, truth)
    found = loss(ready, picked(choose(stack, truth).weights), truth)
    single = min(loss(ready, (k,), truth) for k in range(count))
    pair = min(loss(ready, p, truth) for p in combinations_with_replacement(range(count), 2))
    assert found <= single + 1e-9
    # With two models the loss is convex in the weight, and greedy walks down to the optimum.
    if count <= 2:
        assert found <= pair + 1e-3
    every = (
        loss(ready, p, truth)
        for size in range(1, 6)
        for p in combinations_with_replacement(range(count), size)
    )
    assert found <= min(every) + 0.01


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_every_pick_is_the_one_that_brute_force_would_make(seed: int):
    stack, truth = models(seed, 4, 30, 3)
    ready = calibrated(stack, truth)
    picks: tuple[int, ...] = ()
    losses: list[float] = []
    for _ in range(ROUNDS):
        tried = [loss(ready, (*picks, k), truth) for k in range(4)]
        picks = (*picks, int(np.argmin(tried)))
        losses.append(min(tried))
    found = choose(stack, truth).weights
    lengths = [
        n
        for n in range(1, ROUNDS + 1)
        if np.allclose(np.bincount(picks[:n], minlength=4) / n, found)
    ]
    assert lengths, "no prefix of the greedy picks has these weights"
    assert min(losses[n - 1] for n in lengths) <= min(losses) + 0.005


def test_the_mixture_is_the_weighted_sum_of_calibrated_logits():
    stack, truth = models(1, 3, 200, 3)
    found = choose(stack, truth)
    assert found.weights.sum() == pytest.approx(1)
    by_hand = sum(
        w * z / fit_temperature(z, truth) for w, z in zip(found.weights, stack, strict=True)
    )
    np.testing.assert_allclose(found.logits(stack), by_hand, rtol=1e-5, atol=1e-6)


def test_a_model_that_only_repeats_another_is_not_taken():
    stack, truth = models(2, 1, 200, 3)
    assert choose(np.concatenate([stack, stack]), truth).weights.tolist() == [1.0, 0.0]


def test_a_set_that_is_not_allowed_is_not_formed():
    stack, truth = models(3, 5, 400, 3)
    assert len(choose(stack, truth).members) > 2
    found = choose(stack, truth, lambda chosen: len(chosen) <= 2)
    assert len(found.members) == 2
    alone = choose(stack, truth, lambda chosen: len(chosen) == 1)
    losses = [loss(calibrated(stack, truth), (k,), truth) for k in range(5)]
    assert alone.members == [int(np.argmin(losses))]


def test_among_models_that_know_nothing_the_luck_of_the_choice_does_not_count():
    lucky, honest = [], []
    for seed in range(20):
        stack, truth = models(seed, 24, 60, 2, skill=0.0)
        lucky.append((choose(stack, truth).logits(stack).argmax(1) == truth).mean())
        halves = split_in_halves(60, seed)
        honest.append((cross_fitted(stack, truth, halves).argmax(1) == truth).mean())
    assert np.mean(lucky) > 0.6, "choosing fits the rows it chooses by"
    assert abs(np.mean(honest) - 0.5) < 0.04


def test_no_row_has_a_say_in_its_own_answer():
    stack, truth = models(4, 4, 80, 3)
    halves = split_in_halves(80, 0)
    before = cross_fitted(stack, truth, halves)
    truth[halves] = (truth[halves] + 1) % 3
    after = cross_fitted(stack, truth, halves)
    np.testing.assert_array_equal(before[halves], after[halves])
    assert not np.array_equal(before[~halves], after[~halves])


@given(st.lists(st.sampled_from("abcdef"), min_size=2, max_size=40), st.integers(0, 100))
def test_rows_of_one_group_lie_on_one_side(groups: list[str], seed: int):
    sides = split_in_halves(groups, seed)
    for name in set(groups):
        assert len({bool(s) for s, g in zip(sides, groups, strict=True) if g == name}) == 1
    one = len({g for s, g in zip(sides, groups, strict=True) if s})
    assert one == len(set(groups)) // 2

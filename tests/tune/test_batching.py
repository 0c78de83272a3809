"""Token-budget batches: complete, within the budget, deterministic, and nearly without padding."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sartor.tune.batching import Budget, Tokens, plan_epoch, plan_in_order

lengths = st.lists(st.integers(1, 200), min_size=1, max_size=120).map(np.array)
budgets = st.builds(Budget, tokens=st.integers(16, 1000), rows=st.integers(1, 40))


def _padded(longest: int) -> int:
    return -(-longest // 8) * 8


@given(lengths=lengths, budget=budgets, seed=st.integers(0, 9), epoch=st.integers(0, 9))
def test_every_row_is_in_exactly_one_batch_and_no_batch_is_over_budget(
    lengths, budget, seed, epoch
):
    for batches in (
        plan_epoch(lengths, budget, seed=seed, epoch=epoch),
        plan_in_order(lengths, budget),
    ):
        assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
        for batch in batches:
            assert len(batch) <= budget.rows
            cost = len(batch) * _padded(int(lengths[batch].max()))
            assert cost <= budget.tokens or len(batch) == 1


@given(lengths=lengths, budget=budgets, seed=st.integers(0, 9))
def test_the_plan_is_a_function_of_seed_and_epoch(lengths, budget, seed):
    first = plan_epoch(lengths, budget, seed=seed, epoch=1)
    again = plan_epoch(lengths, budget, seed=seed, epoch=1)

    assert [batch.tolist() for batch in first] == [batch.tolist() for batch in again]


def test_epochs_and_seeds_differ():
    lengths = np.random.default_rng(0).integers(5, 200, 400)
    plans = [
        np.concatenate(plan_epoch(lengths, Budget(2048, 32), seed=seed, epoch=epoch)).tolist()
        for seed, epoch in ((0, 0), (0, 1), (1, 0))
    ]

    assert plans[0] != plans[1]
    assert plans[0] != plans[2]


def test_skewed_lengths_are_padded_by_less_than_a_tenth():
    lengths = np.random.default_rng(0).lognormal(4.2, 0.7, 4000).clip(5, 256).astype(np.int64)

    batches = plan_epoch(lengths, Budget(2048, 32), seed=0, epoch=0)

    padded = sum(len(batch) * _padded(int(lengths[batch].max())) for batch in batches)
    assert padded < 1.1 * lengths.sum()


def test_a_batch_is_padded_to_its_longest_row_rounded_up():
    tokens = Tokens([[5, 6], [7] * 9, [8, 9, 10]], pad=3)

    ids, mask = tokens.batch(np.array([0, 1]))

    assert ids.shape == mask.shape == (2, 16)
    assert ids[0].tolist() == [5, 6] + [3] * 14
    assert mask.sum(1).tolist() == [2, 9]

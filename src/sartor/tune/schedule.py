"""Which rows each step reads, after which steps to evaluate, and how fast a step learns."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sartor.tune.batching import Budget, plan_epoch
from sartor.tune.settings import Loop


@dataclass(frozen=True, slots=True)
class Schedule:
    """A pure function of lengths, settings and seed: a resumed run computes it again.

    Args:
        steps: Row indices of the batches of every optimiser step.
        evaluate: Steps done after which the validation rows are scored.
        rows_at: (steps + 1,) training rows read when a number of steps are done.
        warmup: Share of the steps over which the rate rises.
    """

    steps: list[list[NDArray[np.int64]]]
    evaluate: frozenset[int]
    rows_at: NDArray[np.int64]
    warmup: float

    def rate(self, step: int) -> float:
        """Share of the peak learning rate: linear up, then linear down to just above 0."""
        rise = max(1, round(len(self.steps) * self.warmup))
        if step < rise:
            return (step + 1) / rise
        return (len(self.steps) - step) / max(1, len(self.steps) - rise)


def schedule(lengths: NDArray[np.int64], loop: Loop, seed: int) -> Schedule:
    """The schedule of a run over rows of these lengths."""
    budget = Budget(loop.batch_tokens, loop.batch_rows)
    steps: list[list[NDArray[np.int64]]] = []
    evaluate: set[int] = set()
    for epoch in range(loop.epochs):
        batches = plan_epoch(lengths, budget, seed=seed, epoch=epoch)
        groups = [batches[i : i + loop.accumulate] for i in range(0, len(batches), loop.accumulate)]
        parts = min(loop.evaluations, len(groups))
        evaluate |= {len(steps) + len(groups) * (i + 1) // parts for i in range(parts)}
        steps += groups
        if loop.max_steps and len(steps) >= loop.max_steps:
            break
    steps = steps[: loop.max_steps] if loop.max_steps else steps
    if loop.kept == "last":
        evaluate = {len(steps)}  # only to be told
    rows_at = np.cumsum([0, *(sum(map(len, batches)) for batches in steps)])
    return Schedule(steps, frozenset(evaluate), rows_at, loop.warmup)

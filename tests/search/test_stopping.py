"""What counts as a gain, and what a search that stops there leaves behind."""

import numpy as np
import pytest

from sartor.need.model import Budget
from sartor.search.ladder import Assessment, Limits
from sartor.search.stopping import gains, why_stopped


def found(chance: float, losses: np.ndarray | None = None, loss: float = 1.0) -> Assessment:
    return Assessment({}, {}, chance, loss if losses is None else float(losses.mean()), losses)


def test_a_chance_gains_by_steps_that_are_no_noise():
    assert gains(found(0.75), found(0.7))
    assert not gains(found(0.74, loss=2.0), found(0.7))
    assert not gains(found(0.6), found(0.7))


def test_a_loss_gains_by_more_than_a_standard_error_of_the_paired_difference():
    rng = np.random.default_rng(0)
    rows = rng.gamma(2.0, 0.5, 400)
    error = 0.2 / np.sqrt(400)
    luck = rng.normal(0, 0.2, 400)
    luck = (luck - luck.mean()) / luck.std(ddof=1) * 0.2
    assert gains(found(0.7, rows - 1.1 * error + luck), found(0.7, rows))
    assert not gains(found(0.7, rows - 0.9 * error + luck), found(0.7, rows))
    assert gains(found(0.7, rows - 1e-3), found(0.7, rows)), "every row is better by as much"
    assert not gains(found(0.7, rows), found(0.7, rows))


@pytest.mark.parametrize("losses", [None, np.ones(1), np.ones(3)])
def test_without_rows_in_common_any_lower_loss_gains(losses: np.ndarray | None):
    assert gains(found(0.7, losses, 0.9), found(0.7, np.full(2, 1.5)))
    assert not gains(found(0.7, losses, 1.0), found(0.7, np.full(2, 0.5)))


def test_what_is_left_to_gain_is_less_than_the_rows_tell():
    """Searches of up to 80 draws, whose losses differ by four standard errors of the rows.

    Where one stops, the best of all 80 is less than half a standard error better on average.
    """
    rng, patience, rows = np.random.default_rng(1), Budget().patience, 50
    luck = rng.normal(0, np.sqrt(rows / 2), (80, rows))
    luck -= luck.mean(1, keepdims=True)
    spent: list[int] = []
    left: list[float] = []
    for _ in range(100):
        losses = 4.0 * rng.standard_exponential(80)  # in standard errors; none is below 0
        drawn = [found(0.7, loss + each) for loss, each in zip(losses, luck, strict=True)]
        mark, misses, n = drawn[0], 0, 1
        while n < len(drawn) and misses < patience:
            n, misses = n + 1, misses + 1
            best = min(drawn[:n], key=lambda each: each.log_loss)
            if gains(best, mark):
                mark, misses = best, 0
        spent.append(n)
        left.append(float(losses[:n].min() - losses.min()))
    assert np.mean(left) < 0.5
    assert np.mean(spent) < 25


def test_the_patience_of_a_need_is_that_of_a_search():
    assert Limits(None, None, lambda _, find: find()).patience == Budget().patience
    assert why_stopped(7, 1) == "the last 7 trials gave no better chance"
    assert why_stopped(7, 2) == "the last 7 trials of each rung gave no better chance"

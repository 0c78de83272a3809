"""Parity: the test keeps what is as good, and refuses what loses more than the tolerance."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sartor.shrink.parity import Parity, overlap_parity, parity


def answers(best: list[str]) -> list[dict[str, object]]:
    return [
        {"best": b, "probabilities": {"x": 0.9 if b == "x" else 0.1, "y": 0.9 if b == "y" else 0.1}}
        for b in best
    ]


def flipped(right: np.ndarray) -> list[dict[str, object]]:
    """Answers on rows whose label is x."""
    return answers(["x" if r else "y" for r in right])


def compared(was: np.ndarray, now: np.ndarray, tolerance: float = 0.0) -> Parity:
    return parity(flipped(was), flipped(now), ["x"] * len(was), tolerance)


def test_an_artefact_that_answers_alike_has_lost_nothing():
    found = compared(np.array([True, True, False]), np.array([True, True, False]))
    assert (found.agreement, found.drop, found.drop_high, found.shift) == (1.0, 0.0, 0.0, 0.0)
    assert found.holds
    assert "-0.0" not in found.sentence().split("tolerance")[0]


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_the_drop_is_the_difference_of_accuracies_and_lies_below_its_upper_end(
    pairs: list[tuple[bool, bool]],
):
    was, now = np.array(pairs).T
    found = compared(was, now)
    assert found.drop == pytest.approx(was.mean() - now.mean())
    assert found.agreement == pytest.approx((was == now).mean())
    if (was != now).any() and found.drop >= 0:
        assert found.drop_high > found.drop * len(pairs) / (len(pairs) + 2) - 1e-12


def test_the_upper_end_covers_the_true_drop_in_95_of_100_simulated_comparisons():
    draw = np.random.default_rng(0)
    for rows, lost, gained in ((200, 0.05, 0.02), (600, 0.02, 0.02), (120, 0.10, 0.0)):
        covered = 0
        for _ in range(1000):
            side = draw.choice(3, size=rows, p=[lost, gained, 1 - lost - gained])
            was = np.where(side == 0, True, np.where(side == 1, False, True))
            now = np.where(side == 0, False, True)
            covered += compared(was, now).drop_high >= lost - gained
        assert covered >= 930, f"{covered} of 1000 at {rows} rows, {lost} lost, {gained} gained"


@pytest.mark.slow
def test_a_loss_beyond_the_tolerance_is_refused_on_many_rows_in_19_of_20():
    draw = np.random.default_rng(1)
    passed = 0
    for _ in range(300):
        was = draw.random(5000) < 0.9
        now = was & (draw.random(5000) > 0.05)
        passed += compared(was, now, tolerance=0.02).holds
    assert passed <= 15


def test_on_few_rows_a_small_change_is_within_the_doubt_of_the_score_itself():
    was = np.array([True] * 24 + [False] * 6)
    now = was.copy()
    now[0] = False
    found = compared(was, now, tolerance=0.02)
    assert found.tolerance > 0.02
    assert found.holds
    now[:6] = False
    assert not compared(was, now, tolerance=0.02).holds


def replied(texts: list[str]) -> list[dict[str, object]]:
    return [{"best": text} for text in texts]


def test_replies_are_compared_by_what_they_share_with_the_right_ones():
    right = ["hold the power button", "check the cable"] * 40
    was = replied(right)
    same = overlap_parity(was, was, right, 0.02)
    assert (same.agreement, same.drop, same.drop_high, same.holds) == (1.0, 0.0, 0.0, True)
    # One word of four is lost in half of the replies: F1 of 3 words in 3 and 4.
    now = replied(["hold power button", "check the cable"] * 40)
    found = overlap_parity(was, now, right, 0.02)
    assert found.agreement == 0.5
    assert found.drop == pytest.approx((1 - 6 / 7) / 2)
    assert found.drop_high > found.drop
    assert not found.holds
    assert "overlap -7.1 points" in found.sentence()
    assert overlap_parity(now, was, right, 0.02).holds

"""Whether one model beats another on few rows: exact, and no oftener wrong than it says."""

import numpy as np
import pytest
from scipy.stats import binomtest

from sartor.judge.alpha import WORN
from sartor.judge.paired import Pairs, better, fewest, further


@pytest.mark.parametrize("look", [1, 2, 3])
@pytest.mark.parametrize(("wins", "losses"), [(6, 0), (9, 1), (9, 2), (15, 5), (3, 3), (0, 8)])
def test_it_says_better_exactly_where_the_sign_test_does(wins, losses, look):
    verdict = better(Pairs(60, wins, losses), 0.95, look, "a > b")
    spent = 0.05 / (look * (look + 1))
    p = binomtest(wins, wins + losses, 0.5, alternative="greater").pvalue
    assert (verdict.state == "met") is bool(p <= spent)
    assert verdict.low <= verdict.value <= verdict.high
    assert verdict.value == pytest.approx((wins - losses) / 60)


@pytest.mark.parametrize("look", range(1, 6))
@pytest.mark.parametrize("confidence", [0.8, 0.9, 0.95, 0.99])
def test_fewer_differing_rows_than_the_fewest_never_show_anything(confidence, look):
    least = fewest(confidence, look)
    assert better(Pairs(100, least, 0), confidence, look, "").state == "met"
    assert better(Pairs(100, least - 1, 0), confidence, look, "").state == "unproven"


def test_a_worse_challenger_is_told_and_rows_that_do_not_differ_tell_nothing():
    assert better(Pairs(40, 0, 9), 0.95, 1, "").state == "unmet"
    verdict = better(Pairs(40, 0, 0), 0.95, 1, "")
    assert (verdict.state, verdict.value) == ("unproven", 0)
    # Clopper and Pearson: none of 40 leaves up to 8.8 %.
    assert (verdict.low, verdict.high) == pytest.approx((-0.0881, 0.0881), abs=1e-4)
    assert Pairs(0, 0, 0).gain == 0
    assert Pairs(0, 0, 0).ends(0.05) == (-1, 1)


@pytest.mark.parametrize(("differ", "win"), [(0.1, 0.5), (0.3, 0.7), (0.2, 0.95), (0.5, 0.4)])
def test_the_interval_of_the_gain_covers_the_truth_as_often_as_it_says(differ, win):
    draw = np.random.default_rng(3)
    truth, inside = differ * (2 * win - 1), 0
    for differing in draw.binomial(60, differ, 1_000).tolist():
        wins = int(draw.binomial(differing, win))
        low, high = Pairs(60, wins, differing - wins).ends(0.05)
        inside += low <= truth <= high
    assert inside >= 945


def test_rows_that_were_looked_at_too_often_show_nothing_more():
    verdict = better(Pairs(100, 60, 0), 0.95, WORN + 1, "")
    assert verdict.state == "unproven"
    assert "too often" in verdict.note


def test_a_challenger_that_is_no_better_is_seldom_called_so_over_all_looks():
    """Rows double between looks, as `sartor personalize` has it; a third of them differ."""
    draw = np.random.default_rng(0)
    called = np.zeros(4_000, bool)
    wins = losses = np.zeros(4_000, np.int64)
    for look, rows in enumerate((20, 20, 40, 80, 160), start=1):
        differing = draw.binomial(rows, 1 / 3, 4_000)
        won = draw.binomial(differing, 0.5)
        wins, losses = wins + won, losses + differing - won
        n = 20 * 2 ** (look - 1)
        seen = {
            pair: better(Pairs(n, *pair), 0.95, look, "").state == "met"
            for pair in set(zip(wins.tolist(), losses.tolist(), strict=True))
        }
        called |= np.array(
            [seen[pair] for pair in zip(wins.tolist(), losses.tolist(), strict=True)]
        )
    assert 0.005 < called.mean() < 0.05


def test_the_further_rows_that_are_stated_are_enough_about_as_often_as_they_say():
    pairs = Pairs(40, 7, 3)
    least, most = further(pairs, 0.95, 2)
    assert 0 < least < most
    draw = np.random.default_rng(1)
    enough = [
        np.mean(
            [
                better(Pairs(10_000, int(w), pairs.differing + more - int(w)), 0.95, 2, "").state
                == "met"
                for w in draw.binomial(pairs.differing + more, 0.7, 300)
            ]
        )
        for more in (least, most)
    ]
    assert enough == [pytest.approx(0.55, abs=0.12), pytest.approx(0.92, abs=0.06)]


def test_no_number_of_rows_is_promised_to_a_challenger_that_is_not_ahead():
    assert further(Pairs(40, 3, 3), 0.95, 2) is None
    assert further(Pairs(40, 1, 5), 0.95, 2) is None

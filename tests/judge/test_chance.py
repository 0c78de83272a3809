import time
from dataclasses import replace

import numpy as np
import pytest

from sartor.judge.chance import chance_of_met
from sartor.judge.verdicts import judge
from sartor.need.verdict import Verdict
from tests.judge.rows import criteria, flipped, right_and_wrong, subject


def test_a_perfect_validation_set_is_no_certainty():
    chance = chance_of_met(criteria("accuracy >= 0.9"), right_and_wrong(20, 0), 200)
    assert 0.3 < chance.overall < 0.9


def test_plenty_of_good_rows_are_nearly_certain_and_poor_ones_hopeless():
    assert chance_of_met(criteria("accuracy >= 0.8"), right_and_wrong(950, 50), 600).overall > 0.99
    assert chance_of_met(criteria("accuracy >= 0.8"), right_and_wrong(700, 300), 600).overall < 0.01


def test_a_test_set_too_small_to_prove_anything_gives_no_chance():
    need = criteria("accuracy >= 0.9")
    assert chance_of_met(need, right_and_wrong(500, 0), 30).overall == 0
    assert chance_of_met(need, right_and_wrong(500, 0), 300).overall > 0.95


def test_the_overall_chance_is_of_all_together():
    found = right_and_wrong(850, 150)
    one = chance_of_met(criteria("accuracy >= 0.81"), found, 600)
    both = chance_of_met(criteria("accuracy >= 0.81", "accuracy >= 0.81"), found, 600)
    assert 0.2 < one.overall < 0.98
    # The same rows decide both, so the chance is not squared.
    assert both.overall == pytest.approx(one.overall, abs=0.1)
    assert both.overall <= min(found for found in both.each if found is not None)


def test_what_is_known_counts_and_what_cannot_be_known_yet_is_left_out():
    need = criteria("accuracy >= 0.5", "size_mb <= 60", "latency_p95_ms <= 20")
    found = right_and_wrong(90, 10)
    assert chance_of_met(need, found, 200).each == (1.0, None, None)
    small = Verdict("size_mb <= 60", 22.0, 22.0, 22.0, 0, "met")
    assert chance_of_met(need, found, 200, known=[small]).each == (1.0, 1.0, None)
    big = replace(small, value=99.0, state="unmet")
    assert chance_of_met(need, found, 200, known=[big]).overall == 0


def test_the_bundle_is_never_timed_for_a_forecast():
    def timing():
        raise AssertionError("was timed")

    found = replace(right_and_wrong(9, 1), timing=timing)
    assert chance_of_met(criteria("latency_p95_ms <= 20"), found, 100).each == (None,)


@pytest.mark.parametrize("text", ["accuracy >= 0.8", "f1_macro >= 0.8"])
def test_the_chance_is_roughly_how_often_it_comes_true(text):
    rng = np.random.default_rng(0)
    need = criteria(text)
    said, came = [], []
    for seed in range(150):
        rate = rng.uniform(0.78, 0.92)
        truth = rng.choice(["a", "b", "c"], 800, p=[0.5, 0.3, 0.2])
        best = flipped(truth, rate, rng)
        validation = subject(list(truth[:300]), best[:300])
        said.append(chance_of_met(need, validation, 500, draws=100, seed=seed).overall)
        came.append(judge(need, subject(list(truth[300:]), best[300:]))[0].state == "met")
    said, came = np.array(said), np.array(came)
    assert said.mean() == pytest.approx(came.mean(), abs=0.08)
    for low, high in ((0.0, 0.33), (0.33, 0.67), (0.67, 1.01)):
        inside = (said >= low) & (said < high)
        assert inside.sum() >= 10
        assert said[inside].mean() == pytest.approx(came[inside].mean(), abs=0.2)


def test_six_hundred_rows_and_six_criteria_take_well_under_a_second():
    rng = np.random.default_rng(0)
    truth = rng.choice(list("abcde"), 600)
    found = subject(list(truth), flipped(truth, 0.85, rng), baseline=flipped(truth, 0.8, rng))
    need = criteria(
        "accuracy >= 0.8",
        "recall[label=a] >= 0.75",
        "accuracy >= baseline + 0.03",
        "f1_macro >= 0.8",
        "f1_weighted >= 0.8",
        "automation_rate[precision >= 0.8] >= 0.5",
    )
    started = time.process_time()
    chance_of_met(need, found, 600)
    assert time.process_time() - started < 0.5

"""Climbing: stop when it is enough, spend no more than allowed, step over what fails."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sartor.core.errors import Diverged
from sartor.core.events import CandidateTried, Event, Note
from sartor.core.types import Candidate
from sartor.search.estimates import Estimate, Range
from sartor.search.ladder import (
    ENOUGH,
    Again,
    Assessment,
    Climb,
    Climber,
    Limits,
    Rung,
    Scored,
    once,
)
from sartor.tasks._decision.logits import refuse_broken

NONE = np.zeros((1, 2), np.float32)


def rung(name: str, count: int, *, together: bool = False, seconds: float = 1.0) -> Rung:
    estimate = Estimate(Range(seconds, 3 * seconds), Range(100, 200), Range(1, 2))
    candidates = tuple(Candidate("b", "0", name, {"n": n}, 0) for n in range(count))
    return Rung(name, candidates, together, estimate)


def climb(
    rungs: Sequence[Rung],
    chances: Callable[[str, int], float | Exception],
    limits: Limits | None = None,
    losses: Callable[[str, int], float] = lambda name, n: 0.5,
    workers: int = 1,
    again: Again = once,
) -> tuple[Climb, list[Event]]:
    events: list[Event] = []

    def fit(groups: Sequence[Sequence[Candidate]]) -> list[list[Scored | Exception]]:
        assert len(groups) <= workers
        found = [[chances(c.method, c.settings["n"]) for c in group] for group in groups]
        return [
            [f if isinstance(f, Exception) else Scored(NONE, NONE, 0.0) for f in of_group]
            for of_group in found
        ]

    def assess(candidate: Candidate, _: Scored) -> Assessment:
        n = candidate.settings["n"]
        chance = chances(candidate.method, n)
        assert not isinstance(chance, Exception)
        return Assessment({}, {"accuracy >= 0.8": chance}, chance, losses(candidate.method, n))

    limits = limits or Limits(None, None, lambda _, find: find())
    climber = Climber(fit, assess, limits, events.append, workers=workers, again=again)
    return climber.climb(rungs), events


def names(found: Climb) -> list[tuple[str, int, str]]:
    return [(t.rung, t.candidate.settings["n"], t.state) for t in found.tried]


def test_the_climb_stops_at_the_first_candidate_that_is_likely_enough():
    rungs = [rung("head", 2), rung("lora", 3), rung("full", 2)]
    found, events = climb(rungs, lambda name, n: ENOUGH if (name, n) == ("lora", 1) else 0.79)
    assert names(found) == [
        (*at, "tried") for at in [("head", 0), ("head", 1), ("lora", 0), ("lora", 1)]
    ]
    assert found.reached
    assert found.best is found.tried[-1]
    assert sum(isinstance(e, CandidateTried) for e in events) == 4


def test_a_rung_that_must_not_stop_wins_only_where_nothing_else_is_enough():
    rungs = [replace(rung("earlier", 1), stops=False), rung("head", 1), rung("full", 1)]
    found, _ = climb(rungs, lambda name, _: {"earlier": 0.95, "head": 0.85}.get(name, 0.9))
    assert found.best is not None
    assert [t.rung for t in found.tried] == ["earlier", "head"]
    assert (found.best.rung, found.reached) == ("head", True)

    found, _ = climb(rungs, lambda name, _: 0.95 if name == "earlier" else 0.7)
    assert found.best is not None
    assert [t.rung for t in found.tried] == ["earlier", "head", "full"]
    assert (found.best.rung, found.reached) == ("earlier", True)


def test_candidates_that_share_their_work_are_all_tried_before_stopping():
    found, events = climb([rung("head", 4, together=True)], lambda _, n: 0.9)
    assert len(found.tried) == 4
    assert sum(isinstance(e, CandidateTried) for e in events) == 1


def test_a_ladder_that_ends_below_is_not_reached_and_keeps_its_best():
    found, _ = climb([rung("head", 2), rung("full", 1)], lambda name, n: 0.2 + 0.3 * n)
    assert not found.reached
    assert found.best is not None
    assert found.best.candidate.settings["n"] == 1


@pytest.mark.parametrize("spread", [0.0, 0.05])
def test_among_chances_that_are_alike_the_lower_loss_is_best(spread: float):
    losses = [0.4, 0.2, 0.3]
    chances = [0.6 + spread, 0.6, 0.6 - spread]
    found, _ = climb([rung("head", 3)], lambda _, n: chances[n], losses=lambda _, n: losses[n])
    assert found.best is not None
    assert found.best.candidate.settings["n"] == 1


@pytest.mark.parametrize("error", [Diverged("loss nan.", fix="lower it."), MemoryError("full")])
def test_a_candidate_that_fails_is_told_and_stepped_over(error: Exception):
    found, events = climb([rung("lora", 3)], lambda _, n: error if n == 0 else 0.5)
    assert names(found) == [("lora", 0, "failed"), ("lora", 1, "tried"), ("lora", 2, "tried")]
    assert found.tried[0].why in ("loss nan.", "full")
    assert any(isinstance(e, Note) and found.tried[0].why in e.text for e in events)


def test_a_candidate_whose_answers_are_no_numbers_is_told_and_stepped_over():
    events: list[Event] = []

    def assess(candidate: Candidate, scored: Scored) -> Assessment:
        refuse_broken(scored.validation_logits)
        return Assessment({}, {}, 0.5, 0.5)

    def fit(groups: Sequence[Sequence[Candidate]]) -> list[list[Scored | Exception]]:
        return [
            [Scored(NONE * np.nan if c.settings["n"] == 0 else NONE, NONE, 0.0) for c in group]
            for group in groups
        ]

    limits = Limits(None, None, lambda _, find: find())
    found = Climber(fit, assess, limits, events.append).climb([rung("lora", 2)])
    assert names(found) == [("lora", 0, "failed"), ("lora", 1, "tried")]
    assert "not numbers for 1 of 1" in found.tried[0].why
    assert any(isinstance(e, Note) and found.tried[0].why in e.text for e in events)


def test_when_everything_fails_there_is_no_best():
    found, _ = climb([rung("lora", 2)], lambda _, n: MemoryError())
    assert (found.best, found.reached) == (None, False)
    assert {t.why for t in found.tried} == {"MemoryError"}


def test_a_rung_dearer_than_what_is_left_is_skipped_and_the_cheaper_ones_are_not():
    limits = Limits(10.0, None, lambda _, find: find())
    rungs = [rung("head", 1), rung("lora", 3, seconds=60), rung("bias", 1, seconds=2)]
    found, _ = climb(rungs, lambda *_: 0.1, limits)
    assert names(found) == [("head", 0, "tried"), ("lora", 0, "skipped"), ("bias", 0, "tried")]
    assert found.tried[1].why.startswith("needs at least 60 s, ")


def test_a_rung_larger_than_the_memory_is_skipped():
    limits = Limits(None, 99.0, lambda _, find: find())
    found, _ = climb([rung("head", 1)], lambda *_: 0.9, limits)
    assert names(found) == [("head", 0, "skipped")]
    assert found.tried[0].why == "needs at least 100 MB of 99"


def test_what_the_clock_decided_is_replayed():
    facts: dict[str, Any] = {}
    rungs = [rung("head", 1), rung("lora", 1, seconds=60)]

    def replay(name: str, find: Callable[[], Any]) -> Any:
        return facts.setdefault(name, find())

    first, _ = climb(rungs, lambda *_: 0.1, Limits(10.0, None, replay))
    # The resumed run has all the time in the world, and must not use it.
    again, _ = climb(rungs, lambda *_: 0.1, Limits(1e9, None, lambda name, _: facts[name]))
    assert names(again) == names(first) == [("head", 0, "tried"), ("lora", 0, "skipped")]


_CHANCES = st.floats(0, 1) | st.sampled_from([0.78, 0.79, 0.8, 0.81, 0.82])


@given(st.lists(st.lists(_CHANCES, min_size=1, max_size=4), min_size=1, max_size=4))
def test_no_candidate_after_an_enough_one_is_ever_fitted(table: list[list[float]]):
    rungs = [rung(f"m{i}", len(row)) for i, row in enumerate(table)]
    found, _ = climb(rungs, lambda name, n: table[int(name[1:])][n])
    tried = [table[int(t.rung[1:])][t.candidate.settings["n"]] for t in found.tried]
    flat = [chance for row in table for chance in row]
    stop = next((i + 1 for i, chance in enumerate(flat) if chance >= ENOUGH), len(flat))
    assert tried == flat[:stop]
    assert found.reached == (max(flat) >= ENOUGH)


@pytest.mark.parametrize("workers", [2, 3, 8])
@pytest.mark.parametrize("enough", [("head", 0), ("lora", 0), ("lora", 1), ("lora", 4), None])
def test_how_many_are_fitted_at_once_does_not_decide_where_the_climb_ends(
    workers: int, enough: tuple[str, int] | None
):
    rungs = [rung("head", 2, together=True), rung("lora", 5), rung("full", 2)]

    def chances(name: str, n: int) -> float | Exception:
        if (name, n) == ("lora", 3):
            return Diverged("the loss is not a number.", fix="lower lr.")
        return ENOUGH if (name, n) == enough else 0.3 + n / 50

    one, _ = climb(rungs, chances)
    many, _ = climb(rungs, chances, workers=workers)
    assert names(many) == names(one)
    assert many.reached == one.reached
    assert many.best is not None
    assert one.best is not None
    assert many.best.candidate == one.best.candidate


def test_of_those_at_once_only_what_the_budget_allows_is_fitted():
    asked: list[str] = []

    def replay(name: str, find: Callable[[], Any]) -> Any:
        asked.append(name)
        return "needs too long" if len(asked) == 2 else ""

    found, _ = climb([rung("lora", 4)], lambda *_: 0.3, Limits(9, None, replay), workers=3)
    assert names(found) == [("lora", 0, "tried"), ("lora", 1, "skipped")]


def test_the_best_of_a_rung_is_looked_at_again_before_the_next_is_climbed():
    """Whichever way it turns out, and then whoever is the best."""
    looked: list[int] = []
    firsts = (0.6, 0.9, 0.85, 0.2)

    def again(of: dict[int, float]) -> Again:
        def look(candidate: Candidate, found: Assessment) -> Assessment:
            n = candidate.settings["n"]
            if candidate.method != "head" or found.by_folds:
                return found
            looked.append(n)
            return replace(found, chance=of[n], by_folds=True)

        return look

    rungs = [rung("head", 4, together=True), rung("lora", 1)]
    chances = lambda name, n: firsts[n] if name == "head" else 0.3  # noqa: E731
    worse, _ = climb(rungs, chances, again=again({1: 0.2, 2: 0.5}))
    assert looked == [1, 2], "the first would not have been enough anyway"
    assert not worse.reached
    assert [t.assessment.chance for t in worse.tried if t.assessment] == [0.6, 0.2, 0.5, 0.2, 0.3]
    assert worse.best is not None
    assert worse.best.candidate.settings["n"] == 2, "0.6 is by validation rows alone"
    looked.clear()
    better, _ = climb(rungs, chances, again=again({0: 0.9, 1: 0.4, 2: 0.81}))
    assert looked == [1, 2]
    assert better.reached
    assert better.best is not None
    assert better.best.candidate.settings["n"] == 2
    assert all(t.rung == "head" for t in better.tried)

"""A second look: by rows that the fit did not see, and only where it may decide something."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sartor.core.errors import Diverged
from sartor.core.types import Candidate, Examples
from sartor.search.assess import Held
from sartor.search.fitting import Bench
from sartor.search.folds import Folds, deal
from sartor.search.ladder import EARLIER, Assessment, Climb, Scored, Tried
from sartor.search.second_look import NEAR, SecondLook, chosen
from sartor.tasks.text_classification.spec import TextClassification
from tests.judge.rows import criteria

ONE = Candidate("tiny", "0" * 64, "head", {}, 0)
OUTPUTS = ("a", "b")


def rows(count: int) -> Examples:
    names = tuple(f"row {n}" for n in range(count))
    return Examples(names, {"text": names}, tuple("ab"[n % 2] for n in range(count)), {})


TRAIN, VALIDATION = rows(600), rows(60)


def logits(examples: Examples, right: float) -> Any:
    """So large a share of the rows answered rightly."""
    signs = np.where(np.array(examples.target) == "b", 2.0, -2.0)
    signs[round(right * len(examples)) :] *= -1
    return np.stack([-signs, signs], 1).astype(np.float32)


class Looks:
    """A second look at a head that answers so large a share of the rows of each kind."""

    def __init__(self, by_folds: float, by_validation: float = 0.85) -> None:
        self.shares = by_folds, by_validation
        self.said: list[Any] = []
        self.fitted: list[Candidate] = []
        self.result: Exception | None = None
        self.folds: Folds | None = deal(TRAIN)
        self.held = Held(
            TextClassification(), OUTPUTS, VALIDATION, tuple(criteria("accuracy >= 0.8")), 1_000
        )

    def fit(self, bench: Bench, groups: Any) -> Any:
        (group,) = groups
        self.fitted += group
        assert bench.folds is self.folds
        train, validation = (
            logits(examples, share)
            for examples, share in zip((TRAIN, VALIDATION), self.shares, strict=True)
        )
        return [[self.result or Scored(validation, train, 0.0, folds=train)]]

    @property
    def look(self) -> SecondLook:
        tuner: Any = None
        bench = Bench(tuner, TRAIN, VALIDATION)
        return SecondLook(bench, self.held, self.fit, self.said.append, lambda: self.folds)

    def first(self) -> Assessment:
        answered = logits(VALIDATION, self.shares[1])
        found = self.held.assess(ONE, Scored(answered, answered, 0.0))
        return replace(found, chance=0.6)


@pytest.mark.parametrize(("by_folds", "sure"), [(0.9, True), (0.78, False)])
def test_more_rows_make_the_chance_surer_whichever_way_it_goes(by_folds: float, sure: bool):
    looks = Looks(by_folds)
    first = looks.first()
    found = looks.look(ONE, first)
    assert found.chance > 0.97 if sure else found.chance < 0.3
    assert (found.log_loss, found.losses is first.losses) == (first.log_loss, True)
    (note,) = looks.said
    assert "60% by 60 validation rows" in note.text
    assert f"{found.chance:.0%} with the 600 training rows" in note.text
    assert looks.look(ONE, found) is found, "and once"


def test_the_rule_that_the_chance_is_of_is_the_one_that_ships():
    looks = Looks(0.9, by_validation=1.0)
    found = looks.look(ONE, first := looks.first())
    assert found.decision["temperature"] > 2 * first.decision["temperature"], "fewer are right"
    assert found.scores == first.scores, "a temperature changes no answer"
    answered = logits(VALIDATION, 1.0)
    best = Tried("head", ONE, "tried", scored=Scored(answered, answered, 0.0), assessment=found)
    after = looks.held.after(best)
    assert after.settle(answered) == found.decision
    assert after.settle(answered, trained=True) == first.decision, "its logits are others"
    unlooked = replace(best, assessment=first)
    assert looks.held.after(unlooked).settle(answered) == first.decision


def test_it_is_left_where_it_can_decide_nothing_or_knows_no_better():
    looks = Looks(0.9)
    first = looks.first()
    for chance in (NEAR[0] - 0.01, NEAR[1], 1.0):
        far = replace(first, chance=chance)
        assert looks.look(ONE, far) is far
    for method in ("lora", "top_layers", EARLIER):
        assert looks.look(replace(ONE, method=method), first) is first
    dealt, looks.folds = looks.folds, None
    assert looks.look(ONE, first) is first
    assert not looks.fitted
    looks.folds, looks.result = dealt, Diverged("No.", fix="none.")
    assert looks.look(ONE, first) is first
    assert looks.fitted == [ONE]
    assert not looks.said


def test_who_is_best_at_last_is_one_that_was_looked_at_again():
    """Of heads that were lucky on the validation rows, and of one that was not."""
    truly = {1: 0.05, 2: 0.3, 3: 0.25}
    looked: list[int] = []

    def again(candidate: Candidate, found: Assessment) -> Assessment:
        n = candidate.settings["n"]
        if found.by_folds or n not in truly:
            return found
        looked.append(n)
        return replace(found, chance=truly[n], by_folds=True)

    def tried(n: int, chance: float, loss: float, method: str = "head") -> Tried:
        candidate = replace(ONE, method=method, settings={"n": n})
        return Tried(method, candidate, "tried", assessment=Assessment({}, {}, chance, loss))

    def best(climb: Climb) -> Any:
        assert climb.best is not None
        return climb.best.candidate.settings["n"]

    some = tried(1, 0.7, 0.4), tried(2, 0.5, 0.5), tried(3, 0.1, 0.6), tried(4, 0.2, 0.45)
    found = chosen(Climb(some, some[0], False), again)
    assert looked == [1, 2]
    assert best(found) == 2, "which is likelier than the others still"
    assert [t.assessment.chance for t in found.tried if t.assessment] == [0.05, 0.3, 0.1, 0.2]
    looked.clear()
    truly |= dict.fromkeys(range(10, 18), 0.02)
    many = tuple(tried(n, 0.7, n / 100) for n in range(10, 18))
    assert best(chosen(Climb(many, many[0], False), again)) == 10, "lucky, as all of them are"
    assert looked == [10, 11, 12, 13, 14], "the others no longer count"
    other = (*some, tried(6, 0.45, 0.3, "full"))
    assert best(chosen(Climb(other, other[0], False), again)) == 6, "which never is"
    reached = Climb(some, some[0], True)
    assert chosen(reached, again) is reached
    last = Climb(some[3:], some[3], False)
    assert chosen(last, again) is last

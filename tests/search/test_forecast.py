"""What more labels would buy, from heads on growing parts of the rows."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from sartor.core.types import Examples
from sartor.need.grammar import parse_criterion
from sartor.search.assess import Held
from sartor.search.forecast import SHARES, Grown, forecast, grow
from sartor.tasks import TASKS

LABELS = ("a", "b", "c")


class World:
    """Three overlapping clouds: rows without end, a head that learns them, and its true curve."""

    def __init__(self, rows: int, *, seed: int = 0, width: int = 40, apart: float = 0.28) -> None:
        self.rng = np.random.default_rng(seed)
        self.centres = np.random.default_rng(99).normal(size=(3, width)) * apart
        self.train, self.features = self.draw(rows)
        self.validation, self.seen = self.draw(400)
        self.far, self.far_seen = self.draw(4000)

    def draw(self, rows: int) -> tuple[Examples, np.ndarray]:
        kinds = self.rng.integers(3, size=rows)
        features = self.centres[kinds] + self.rng.normal(size=(rows, self.centres.shape[1]))
        names = tuple(map(str, range(rows)))
        return Examples(names, {"text": names}, tuple(LABELS[k] for k in kinds)), features

    def fitted(self, features: np.ndarray, target: Sequence[str]) -> LogisticRegression:
        return LogisticRegression(C=0.1, max_iter=500).fit(features, target)

    def head(self, rows: Sequence[int]) -> np.ndarray:
        target = [self.train.target[i] for i in rows]
        return self.fitted(self.features[rows], target).decision_function(self.seen)

    def true_accuracy(self, rows: int) -> float:
        """Of a head on so many fresh rows, averaged over draws."""
        scores = []
        for _ in range(6):
            train, features = self.draw(rows)
            scores.append(self.fitted(features, train.target).score(self.far_seen, self.far.target))
        return float(np.mean(scores))

    def held(self, *criteria: str, test: int = 200_000) -> Held:
        parsed = tuple(parse_criterion(c) for c in criteria)
        return Held(TASKS.get("text_classification")(), LABELS, self.validation, parsed, test)


def foreseen(world: World, text: str, grown: Grown, **more: float):
    held = world.held(text)
    found = forecast(held.criteria[0], held, grown, rows=len(world.train), **more)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def world() -> World:
    return World(150)


@pytest.fixture(scope="module")
def grown(world: World) -> Grown:
    found = grow(world.train, "", world.head)
    assert found is not None
    return found


def test_the_rows_that_truly_reach_a_value_lie_within_the_forecast(world: World, grown: Grown):
    reached = world.true_accuracy(600)
    found = foreseen(world, f"accuracy >= {reached:.4f}", grown)
    assert found.target == pytest.approx(reached, abs=0.004)
    assert found.low is not None
    assert found.low <= 600 - 150
    assert found.high is None or found.high >= 600 - 150
    assert found.chance > 0.3


def test_what_is_reached_already_needs_no_more_rows(world: World, grown: Grown):
    found = foreseen(world, "accuracy >= 0.3", grown)
    assert (found.low, found.high) == (0, 0)


def test_what_lies_above_any_curve_is_told_as_never(world: World, grown: Grown):
    found = foreseen(world, "accuracy >= 0.995", grown)
    assert found.low is None
    assert found.high is None
    assert found.chance < 0.1


def test_a_better_candidate_than_the_head_needs_fewer_rows(world: World, grown: Grown):
    reached = world.true_accuracy(600)
    text = f"accuracy >= {reached:.4f}"
    plain = foreseen(world, text, grown)
    better = foreseen(world, text, grown, present=plain.value + 0.05)
    assert better.value > plain.value
    assert better.chance > plain.chance


def test_a_criterion_of_one_class_grows_that_class_alone(world: World):
    seen: list[list[int]] = []

    def head(rows: Sequence[int]) -> np.ndarray:
        seen.append(list(rows))
        return world.head(rows)

    grown = grow(world.train, "b", head)
    assert grown is not None
    per_class = [
        {label: sum(world.train.target[i] == label for i in rows) for label in LABELS}
        for rows in seen
    ]
    whole = {label: world.train.target.count(label) for label in LABELS}
    assert {c["a"] for c in per_class} == {whole["a"]}
    assert {c["c"] for c in per_class} == {whole["c"]}
    assert sorted({c["b"] for c in per_class}) == [round(s * whole["b"]) for s in SHARES]
    held = world.held("recall[label=b] >= 0.9")
    found = forecast(held.criteria[0], held, grown, rows=whole["b"])
    assert found is not None
    assert (found.label, found.rows) == ("b", whole["b"])
    assert found.measured.rows[-1] == whole["b"]


def test_every_part_holds_every_class_and_the_repetitions_differ(world: World):
    seen: list[list[int]] = []

    def head(rows: Sequence[int]) -> np.ndarray:
        seen.append(list(rows))
        return world.head(rows)

    grow(world.train, "", head)
    assert all({world.train.target[i] for i in rows} == set(LABELS) for rows in seen)
    assert len({tuple(rows) for rows in seen}) == len(seen)


def test_too_few_rows_give_no_curve(world: World):
    few = world.train.take(range(20))
    assert grow(few, "", world.head) is None
    one = replace(world.train, target=("a",) * len(world.train))
    assert grow(one, "", world.head) is None


def test_the_same_seed_foresees_the_same(world: World, grown: Grown):
    assert foreseen(world, "accuracy >= 0.8", grown) == foreseen(world, "accuracy >= 0.8", grown)


def test_a_smaller_test_set_can_prove_only_a_higher_value(world: World, grown: Grown):
    targets = []
    for test in (200, 2000, 20_000):
        held = world.held("accuracy >= 0.7", test=test)
        found = forecast(held.criteria[0], held, grown, rows=len(world.train))
        assert found is not None
        targets.append(found.target)
    assert targets[0] > targets[1] > targets[2] > 0.7

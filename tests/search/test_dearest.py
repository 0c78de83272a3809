"""The class whose labels are worth most is named where it is missed, and else none is."""

from collections.abc import Sequence

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from sartor.core.types import Examples
from sartor.need.grammar import parse_criterion
from sartor.search.assess import Held
from sartor.search.dearest import dearest
from sartor.tasks import TASKS

LABELS = ("a", "b", "c")


class World:
    """Three clouds, of which some have few training rows."""

    def __init__(self, counts: Sequence[int], *, apart: float, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.centres = np.random.default_rng(99).normal(size=(3, 30)) * apart
        self.train, self.features = self.draw(counts)
        self.validation, self.seen = self.draw([300, 300, 300])
        self.fits = 0

    def draw(self, counts: Sequence[int]) -> tuple[Examples, np.ndarray]:
        kinds = np.repeat(np.arange(3), counts)
        features = self.centres[kinds] + self.rng.normal(size=(len(kinds), 30))
        names = tuple(map(str, range(len(kinds))))
        return Examples(names, {"text": names}, tuple(LABELS[k] for k in kinds)), features

    def head(self, rows: Sequence[int]) -> np.ndarray:
        self.fits += 1
        target = [self.train.target[i] for i in rows]
        fitted = LogisticRegression(C=0.1, max_iter=500).fit(self.features[list(rows)], target)
        return fitted.decision_function(self.seen)

    def named(self, text: str, task: str = "text_classification") -> str:
        criterion = parse_criterion(text)
        held = Held(TASKS.get(task)(), LABELS, self.validation, (criterion,), 1000)
        return dearest(criterion, held, self.train, self.head)


@pytest.mark.parametrize("text", ["accuracy >= 0.95", "f1_macro >= 0.95", "log_loss <= 0.1"])
def test_the_class_of_few_rows_is_worth_most(text: str) -> None:
    assert World([300, 300, 24], apart=0.35).named(text) == "c"


def test_none_stands_out_where_there_are_rows_enough() -> None:
    assert World([1500, 1500, 1500], apart=0.35).named("accuracy >= 0.95") == ""


def test_a_class_of_hardly_any_rows_is_not_asked_about() -> None:
    world = World([300, 300, 10], apart=0.35)
    assert world.named("accuracy >= 0.95") in ("", "a", "b")


def test_it_takes_few_fits() -> None:
    world = World([100, 100, 40], apart=0.35)
    world.named("accuracy >= 0.95")
    assert world.fits <= 1 + 2 * 3


def test_what_has_no_classes_has_none_that_is_dearest() -> None:
    assert World([50, 50, 50], apart=0.35).named("mae <= 1", "text_regression") == ""

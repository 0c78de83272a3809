"""What the budget leaves for compressors."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from sartor.core.errors import NothingToShrink
from sartor.core.events import Event, Note, StageProgress, silent
from sartor.search.time_left import OutOfTime, TimeLeft


class Facts:
    """Of a run, and of the same run gone on with."""

    def __init__(self) -> None:
        self.known: dict[str, Any] = {}

    def __call__(self, name: str, find: Callable[[], Any]) -> Any:
        return self.known.setdefault(name, find())


def test_what_trains_ends_with_the_budget_and_the_others_soon_after():
    left = TimeLeft.of(Facts(), time.monotonic() - 5, minutes=10)
    with pytest.raises(OutOfTime, match="distil") as raised:
        left.begun("distil", silent, trains=True)
    assert "budget.minutes" in raised.value.fix
    left.begun("int8", silent, trains=False)
    spent = TimeLeft.of(Facts(), time.monotonic() - 61, minutes=10)
    with pytest.raises(OutOfTime):
        spent.begun("int8", silent, trains=False)
    larger = TimeLeft.of(Facts(), time.monotonic() - 61, minutes=100)
    larger.begun("int8", silent, trains=False)


def test_without_a_budget_all_are_in_time():
    told: list[Event] = []
    says = TimeLeft().begun("int8", told.append, trains=False)
    says(StageProgress("shrink", 9, 10))
    assert told == [StageProgress("shrink", 9, 10)]


def test_a_step_that_comes_too_late_ends_what_does_not_train():
    facts, told = Facts(), list[Event]()
    left = TimeLeft(facts, training=0.0, trying=time.monotonic() + 60)
    says = left.begun("int8", told.append, trains=False)
    says(StageProgress("shrink", 3, 10))
    late = TimeLeft(facts, trying=0.0)
    says = late.begun("int8", told.append, trains=False)  # it was in time before
    says(Note("notes are no steps"))
    says(StageProgress("shrink", 4, 10))  # of the same quarter as before
    with pytest.raises(OutOfTime):
        says(StageProgress("shrink", 5, 10))
    assert told[-1] == StageProgress("shrink", 5, 10), "what was reached is shown"


def test_a_run_that_goes_on_decides_as_it_did():
    facts = Facts()
    with pytest.raises(OutOfTime):
        TimeLeft(facts, trying=0.0).begun("int8", silent, trains=False)
    with pytest.raises(OutOfTime):
        TimeLeft(facts).begun("int8", silent, trains=False)


def test_compressors_that_are_late_are_stepped_over_like_those_without_work():
    assert issubclass(OutOfTime, NothingToShrink)

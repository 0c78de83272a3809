"""What a budget leaves once the rows are read."""

import math
import time
from typing import Any

import pytest

from sartor.search.climbing import Clock
from sartor.search.ladder import Limits


def limits(seconds: float | None) -> Limits:
    def replay(name: str, find: Any) -> Any:
        return find()

    return Limits(seconds, None, replay)


def test_reading_is_spent_of_the_budget() -> None:
    began = time.monotonic() - 40.0
    assert Clock.of(limits(100.0), began).deadline == began + 100.0


@pytest.mark.parametrize("read", [51.0, 300.0])
def test_the_half_is_left_whatever_reading_took(read: float) -> None:
    before = time.monotonic()
    clock = Clock.of(limits(100.0), before - read)
    assert 50.0 <= clock.deadline - before < 51.0
    assert clock.affords("half", 49.0)
    assert not clock.affords("all", 51.0)


def test_no_budget_has_no_end() -> None:
    clock = Clock.of(limits(None), 0.0)
    assert math.isinf(clock.deadline)
    assert clock.affords("all", 1e9)


def test_a_budget_that_ending_takes_whole_is_spent_at_once() -> None:
    assert Clock.of(limits(-5.0), time.monotonic()).deadline <= time.monotonic()

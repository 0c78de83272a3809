"""Whether a compressor is in time: those that train end with the budget, the others soon after.

What the clock said is a fact of the run: a killed run that goes on decides alike.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sartor.core.errors import NothingToShrink
from sartor.core.events import Emit, Event, StageProgress

_SHARE, _LEAST_S = 0.1, 60.0
"""Of the budget, and seconds in any case, that what does not train may take beyond it: a climb that
took all of it may leave a model that is only too large or too slow as it is."""
_PARTS = 4
"""Of a compressor, after each of which but the last it must be in time."""
_FIX = "raise budget.minutes in the need."


class OutOfTime(NothingToShrink):
    """A compressor was not tried, or not to its end, since the budget was spent."""


@dataclass(frozen=True, slots=True)
class TimeLeft:
    """What a run's budget leaves for compressors.

    Args:
        fact: Finds a fact of the run once, by its name.
        training: `time.monotonic()` at which what trains ends.
        trying: The same of what does not train.
    """

    fact: Callable[[str, Callable[[], Any]], Any] = lambda name, find: find()
    training: float = math.inf
    trying: float = math.inf

    @classmethod
    def of(
        cls, fact: Callable[[str, Callable[[], Any]], Any], deadline: float, minutes: float | None
    ) -> "TimeLeft":
        """
        Args:
            fact: See `TimeLeft`.
            deadline: `time.monotonic()` at which the budget is spent.
            minutes: The budget; None where there is none.
        """
        return cls(fact, deadline, deadline + max(_LEAST_S, 60 * _SHARE * (minutes or 0.0)))

    def begun(self, form: str, emit: Emit, trains: bool) -> Emit:
        """`emit` for a compressor that begins; a step of one that does not train ends it there
        where it comes too late. What trains ends by the deadline of its fits.

        Args:
            form: What it would leave, by a name that no other form of the run has.
            emit: Progress.
            trains: Whether it trains.

        Raises:
            OutOfTime: If it may not begin; and from what is returned.
        """
        self._check(form, self.training if trains else self.trying)

        def told(event: Event) -> None:
            emit(event)
            if isinstance(event, StageProgress) and event.total:
                part = _PARTS * event.done // event.total
                if part:
                    self._check(f"{form} {part}/{_PARTS}", self.trying)

        return emit if trains else told

    def _check(self, name: str, end: float) -> None:
        if not self.fact(f"in time {name}", lambda: time.monotonic() < end):
            raise OutOfTime(f"No time was left for {name}.", fix=_FIX)


UNBOUNDED = TimeLeft()
"""No budget."""

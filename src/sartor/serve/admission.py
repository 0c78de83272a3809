"""How long work may wait: a burst as long as the server was told, a flood hardly at all.

A queue that comes and goes is a burst, and is best left to drain. A queue that stands adds its
length to everybody's time and helps nobody: as much is answered as with a short one. CoDel tells
the two apart by time, and so does this: where within two intervals in a row much more comes than is
computed, or where the queue is full, what may wait shrinks to half of a usual request's time, and a
batch to one such time. Whoever is let in then waits for the batch that runs and goes with the next.

Where three of four are refused, whom to let in may be chosen: who comes shortly before a worker is
free waits the least, and keeps it as busy. What runs then counts as waiting does.

Between the two, the bound halves in each interval in which something was refused, and grows back
evenly over ten seconds without a refusal.

Nichols and Jacobson 2012, https://doi.org/10.1145/2208917.2209336; RFC 8289.
Chiu and Jain 1989, https://doi.org/10.1016/0169-7552(89)90019-6.
"""

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

INTERVAL_S = 0.05
"""Two of them are CoDel's interval; longer where a usual request takes longer."""
RELAX_S = 10.0
"""Seconds without a refusal after which the whole bound is back."""
LEAST_USUAL_S = 0.005
"""Below this a request's time is not the model's, and batches of one would waste it."""
_GROWTH = 1.5
"""Work that comes over work that is done, from which on a queue is thought to grow."""
_IN_A_ROW = 2
_FLOOD = 3
"""Refused for each that is let in, from which on there are enough to choose from."""
_DEPTH = 0.25
"""Share of the whole bound that must wait before growth alone counts."""
_SAMPLES, _FEW, _SHARE = 64, 16, 0.9
_LEAST_SLACK = 0.01


@dataclass(slots=True)
class _Interval:
    """What happened since it began; amounts of work in any one unit."""

    since: float
    offered: float = 0.0
    done: float = 0.0
    idle: bool = False
    """Whether nothing waited at some moment."""
    accepted: int = 0
    refused: int = 0

    @property
    def flooded(self) -> bool:
        return self.refused > 0 and self.refused >= _FLOOD * self.accepted


class Admission:
    """Says for one queue what may wait; told of all that comes and goes.

    It has no timer: whatever it is told or asked moves it on.
    """

    def __init__(self, most_s: float, clock: Callable[[], float] = time.perf_counter) -> None:
        """
        Args:
            most_s: Longest wait that is ever accepted; infinite where nothing is to be refused.
            clock: Seconds that never run backwards.
        """
        self._most, self._clock = most_s, clock
        self._slack = 1.0
        self._growing = 0
        self._flooded = False
        self._samples: deque[float] = deque(maxlen=_SAMPLES)
        self._usual = 0.0
        self._now = _Interval(clock())

    @property
    def tight(self) -> bool:
        """Whether less may wait than the server was told."""
        return self._slack < 1

    @property
    def interval_s(self) -> float:
        """What happens is looked at after so long."""
        return max(INTERVAL_S, self.usual_s)

    @property
    def flooded(self) -> bool:
        """Whether three of four were refused of late."""
        return self._flooded and self._clock() - self._now.since < 2 * self.interval_s

    @property
    def usual_s(self) -> float:
        """What a slow request takes that finds the model free: the 90th percentile of late."""
        return max(self._usual, LEAST_USUAL_S)

    @property
    def bound_s(self) -> float:
        """Longest wait in the queue that is accepted now."""
        if not self.tight:
            return self._most
        least = min(self._most, self.usual_s / 2)
        return least + self._slack * (self._most - least)

    @property
    def batch_s(self) -> float:
        """Longest that a batch should take now; infinite while nothing presses."""
        return max(self.usual_s, self.bound_s / 2) if self.tight else math.inf

    def offered(self, work: float, waiting_s: float) -> None:
        """Work was accepted.

        Args:
            work: Of any one unit.
            waiting_s: Seconds of work that wait.
        """
        self._move_on(waiting_s)
        self._now.offered += work
        self._now.accepted += 1

    def refused(self, waiting_s: float) -> None:
        """Something found no room.

        Args:
            waiting_s: As of `offered`.
        """
        self._move_on(waiting_s)
        self._now.refused += 1

    def idle(self) -> None:
        """Nothing waits."""
        self._now.idle = True

    def computed(self, work: float, seconds: float, alone: bool) -> None:
        """A batch was computed.

        Args:
            work: In the unit of `offered`.
            seconds: That it took.
            alone: Whether it held one request, and the whole of it.
        """
        self._now.done += work
        # Under pressure a request takes longer, since the machine has other things to do: that is
        # not usual. Only where next to nothing is known it is better than that.
        if not alone or (self.tight and len(self._samples) >= _FEW):
            return
        self._samples.append(seconds)
        ordered = sorted(self._samples)
        self._usual = ordered[math.ceil(_SHARE * len(ordered)) - 1]

    def _move_on(self, waiting_s: float) -> None:
        now, ended = self._clock(), self._now
        long = now - ended.since
        if long < self.interval_s:
            return
        self._now, self._flooded = _Interval(now), self.tight and ended.flooded
        grew = not ended.idle and ended.offered > _GROWTH * ended.done
        self._growing = self._growing + 1 if grew else 0
        if math.isinf(self._most):
            return
        if self._growing >= _IN_A_ROW and waiting_s > _DEPTH * self._most:
            self._slack = 0.0
        elif ended.refused:
            self._slack = self._slack / 2 if self._slack > _LEAST_SLACK else 0.0
        else:
            self._slack = min(1.0, self._slack + long / RELAX_S)

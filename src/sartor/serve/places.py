"""Places to write replies in: two at once, and a bounded wait for one.

More would only share the same cores. Who would wait longer than `max_wait_s`, by what replies took
of late, is refused at once; so is, when that time is over, who waited for it in vain.
"""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from sartor.serve.room import Busy

AT_ONCE = 2
"""Replies that are written at the same time."""
MOST_WAITING = 64
"""Requests that wait for one of them to end."""
_SMOOTHING = 0.2


class Places:
    """Used from one event loop."""

    def __init__(self, max_wait_s: float, clock: Callable[[], float] = time.perf_counter) -> None:
        """
        Args:
            max_wait_s: Longest wait that is accepted; infinite where none is too long.
            clock: Seconds that never run backwards.
        """
        self._max_wait, self._clock = max_wait_s, clock
        self._free = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self._reply_s = 0.0

    @asynccontextmanager
    async def one(self) -> AsyncGenerator[None]:
        """One of them, until the block ends.

        Raises:
            Busy: When too many wait for one, or none was free for too long.
        """
        if self._waiting >= MOST_WAITING or self._seconds(self._waiting) > self._max_wait:
            raise self._busy(f"{self._waiting} conversations wait for a reply already.")
        await self._take()
        begun = self._clock()
        try:
            yield
        finally:
            self._free.release()
            took = self._clock() - begun
            self._reply_s += (took - self._reply_s) * (_SMOOTHING if self._reply_s else 1.0)

    async def _take(self) -> None:
        self._waiting += 1
        try:
            async with asyncio.timeout(None if math.isinf(self._max_wait) else self._max_wait):
                await self._free.acquire()
        except TimeoutError:
            what = f"No reply could be begun within {self._max_wait:g} s."
            raise self._busy(what) from None
        finally:
            self._waiting -= 1

    def _seconds(self, replies: int) -> float:
        """Until so many of those that are written or wait have ended, by what they took of late."""
        return replies * self._reply_s / AT_ONCE

    def _busy(self, what: str) -> Busy:
        seconds = max(1, math.ceil(self._seconds(self._waiting + 1)))
        fix = f"try again in {seconds} s."
        return Busy(what, fix=fix, where="model", retry_after_s=seconds)

"""A shadow answers copies of what the live model answered; nobody sees its answers.

It has one thread of the lowest priority and a bounded queue. What finds the queue full is dropped
and counted, so a shadow that is too slow for the load compares fewer rows and holds nothing up.
"""

import asyncio
import logging
import os
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from sartor.core.errors import RequestError
from sartor.core.texts import Text, length_of
from sartor.serve.figures import Figures
from sartor.serve.kinds import agrees
from sartor.serve.runtime import Runtime

_log = logging.getLogger(__name__)
_MOST_COPIES, _MOST_CHARS = 256, 1_000_000
_LOWEST = 19


@dataclass(frozen=True, slots=True)
class _Copy:
    live: str
    texts: Sequence[Text]
    labels: Sequence[str | None]

    @property
    def chars(self) -> int:
        return sum(map(length_of, self.texts))


class Shadow:
    """Used from one event loop."""

    def __init__(self, runtime: Runtime, figures: Figures) -> None:
        """
        Args:
            runtime: Warm, with one thread: a forward pass then runs in ours alone.
            figures: Where agreement is counted.
        """
        self.runtime, self._figures = runtime, figures
        self._pool = ThreadPoolExecutor(1, "sartor-shadow", _give_way)
        self._copies: deque[_Copy] = deque()
        self._chars = 0
        self._working: asyncio.Task[None] | None = None
        self._closing = False

    @property
    def id(self) -> str:
        """Content id of the bundle."""
        return self.runtime.id

    async def offer(self, live: str, texts: Sequence[Text], labels: Sequence[str | None]) -> None:
        """Take a copy, or drop it where too many wait.

        Args:
            live: Id of the model that answered.
            texts: What was asked.
            labels: What it answered, one a text.
        """
        copy = _Copy(live, texts, labels)
        full = len(self._copies) >= _MOST_COPIES or self._chars + copy.chars > _MOST_CHARS
        if full or self._closing:
            self._figures.against(live, self.id).dropped += len(texts)
            return
        self._copies.append(copy)
        self._chars += copy.chars
        if self._working is None:
            self._working = asyncio.create_task(self._work())

    async def close(self) -> None:
        """Drop what waits and end."""
        self._closing = True
        for copy in self._copies:
            self._figures.against(copy.live, self.id).dropped += len(copy.texts)
        self._copies.clear()
        if self._working is not None:
            await self._working
        self._pool.shutdown()

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while self._copies:
            copy = self._copies.popleft()
            self._chars -= copy.chars
            ran = loop.run_in_executor(self._pool, self._agreed, copy)
            await asyncio.wait({ran})
            self._count(copy, ran)
        self._working = None

    def _agreed(self, copy: _Copy) -> int:
        """Rows of a copy on which the two agree.

        It runs in the shadow's thread to its end: an answer may fail when it is compared, too, and
        all that fails there is counted and hurts nobody.
        """
        pairs = zip(copy.labels, self.runtime.answer(copy.texts), strict=True)
        return sum(agrees(self.runtime, label, answer) for label, answer in pairs)

    def _count(self, copy: _Copy, ran: "asyncio.Future[int]") -> None:
        found = self._figures.against(copy.live, self.id)
        if (error := ran.exception()) is not None:
            found.failed += len(copy.texts)
            if not isinstance(error, RequestError):
                _log.error("the shadow %s failed", self.id[:12], exc_info=error)
            return
        found.agreed += ran.result()
        found.differed += len(copy.labels) - ran.result()


def _give_way() -> None:
    """Let every other thread of the machine go first; Linux knows priorities of single threads."""
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST)

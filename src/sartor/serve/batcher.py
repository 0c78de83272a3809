"""Batching without a timer: what waits is sent as soon as a worker is free.

An idle server answers one text at once; a busy one finds more waiting whenever it comes back for
work, so batches grow with the load and nothing ever waits for company. Requests take turns, a few
rows each, so that a large one does not hold up the small ones behind it. Work that could not start
within `max_wait_s` at the present rate is refused instead of queued.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from sartor.core.errors import RequestError
from sartor.core.texts import Text, length_of
from sartor.serve.room import Busy

if TYPE_CHECKING:
    from sartor.serve.adapters.graph import Whose

Answer = dict[str, Any]


class Answers(Protocol):
    """How a batch is answered."""

    def __call__(self, texts: Sequence[Text], whose: "Whose" = (), /) -> Sequence[Answer]:
        """One answer a text, in order.

        Args:
            texts: Of any requests.
            whose: The adapter of each; left out where there is none at all.
        """
        ...


BATCH_CHARS = 2_048
"""Characters in one batch: about 500 tokens of English. On a CPU larger ones only add latency."""
LONGEST_CHARS = 4_096
"""A text is cut to the model's length, so more characters than these cost nothing further."""
_MOST_CHARS = 4_000_000
_TURN_ROWS = 8
_ROW_CHARS = 32
_SMOOTHING = 0.2


@dataclass(slots=True)
class Timing:
    """When a request was asked, begun and done, in seconds of `time.perf_counter`."""

    asked: float = 0.0
    begun: float = 0.0
    """When its first row was taken to be computed."""
    done: float = 0.0


@dataclass(slots=True, eq=False)
class _Job:
    texts: Sequence[Text]
    done: "asyncio.Future[list[Answer]]"
    timing: Timing
    whose: "Whose" = ()
    taken: int = 0
    answers: dict[int, Answer] = field(default_factory=dict[int, Answer])


class Batcher:
    """Collects concurrent requests for one model; used from one event loop."""

    def __init__(
        self,
        answers: Answers,
        *,
        workers: int = 1,
        max_wait_s: float = 2.0,
        longest: int = LONGEST_CHARS,
        rate: float = 0.0,
    ) -> None:
        """
        Args:
            answers: Called in a worker thread with a batch; one answer a text, in order.
            workers: Batches computed at the same time.
            max_wait_s: Longest wait that is accepted; infinite where nothing is to be refused.
            longest: Characters of a text after which more cost nothing further.
            rate: Characters a second and worker to begin with; 0 takes the first batch's.
        """
        self._answers, self._free, self._max_wait = answers, workers, max_wait_s
        self._longest = longest
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="sartor-batch")
        self._jobs: deque[_Job] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._waiting = 0  # characters
        self._rate = rate
        self._workers = workers
        self._closing = False
        self.watch: Callable[[int, float], None] | None = None
        """Told of each batch that was computed: its rows, and the seconds it took."""

    @property
    def rate(self) -> float:
        """Characters a second and worker, of late; 0 until a batch was measured."""
        return self._rate

    @property
    def waiting_s(self) -> float:
        """Seconds of work that wait, at the present rate."""
        return self._waiting / (self._rate * self._workers) if self._rate else 0.0

    async def submit(
        self, texts: Sequence[Text], timing: Timing | None = None, whose: "Whose" = ()
    ) -> list[Answer]:
        """Answers to the texts, in order.

        Args:
            texts: At least one, else the answer is empty.
            timing: Filled in.
            whose: The adapter of each; empty where there is none at all.

        Raises:
            Busy: When too much waits already.
            RequestError: 503 when the server is stopping.
        """
        if self._closing:
            raise RequestError(
                "The server is stopping.", fix="send the request to another one.", status=503
            )
        if not texts:
            return []
        if self._jobs and self._full:
            raise Busy(
                f"The server is busy: {self.waiting_s:.1f} s of work wait already.",
                fix=f"try again in {self.retry_after_s} s.",
                where="model",
            )
        job = _Job(texts, asyncio.get_running_loop().create_future(), timing or Timing(), whose)
        job.timing.asked = time.perf_counter()
        self._jobs.append(job)
        self._waiting += sum(map(self._cost, texts))
        self._dispatch()
        try:
            return await job.done
        finally:
            self._forget(job)

    @property
    def _full(self) -> bool:
        if math.isinf(self._max_wait):
            return False
        return self.waiting_s > self._max_wait or self._waiting > _MOST_CHARS

    @property
    def retry_after_s(self) -> int:
        """Whole seconds after which a refused request may find room."""
        return max(1, math.ceil(self.waiting_s))

    async def close(self) -> None:
        """Answer what was accepted, accept nothing more, and end the workers."""
        self._closing = True
        while self._jobs or self._running:
            await asyncio.wait({job.done for job in self._jobs} | self._running)
        self._pool.shutdown()

    def _dispatch(self) -> None:
        while self._free and self._jobs:
            parts = self._take()
            self._free -= 1
            task = asyncio.create_task(self._run(parts))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    def _take(self) -> list[tuple[_Job, int]]:
        """The next batch as (job, row) pairs; jobs give a few rows each and queue up again."""
        parts: list[tuple[_Job, int]] = []
        room = BATCH_CHARS
        while self._jobs and room > 0:
            job = self._jobs.popleft()
            job.timing.begun = job.timing.begun or time.perf_counter()
            turn = 0
            while job.taken < len(job.texts) and turn < _TURN_ROWS:
                cost = self._cost(job.texts[job.taken])
                if parts and cost > room:
                    room = 0
                    break
                parts.append((job, job.taken))
                self._waiting -= cost
                room -= cost
                job.taken += 1
                turn += 1
            if job.taken < len(job.texts):
                # With no room left it keeps its place; otherwise the others have their turn.
                (self._jobs.append if turn else self._jobs.appendleft)(job)
        return parts

    async def _run(self, parts: list[tuple[_Job, int]]) -> None:
        texts = [job.texts[row] for job, row in parts]
        whose = [job.whose[row] if job.whose else None for job, row in parts]
        given = (texts, whose) if any(one is not None for one in whose) else (texts,)
        start = time.perf_counter()
        loop = asyncio.get_running_loop()
        ran = loop.run_in_executor(self._pool, partial(self._answers, *given))
        await asyncio.wait({ran})
        error = ran.exception()
        if error is not None:
            self._fail(parts, error)
        else:
            seconds = time.perf_counter() - start
            self._measure(texts, seconds)
            if self.watch:
                self.watch(len(parts), seconds)
            for (job, row), answer in zip(parts, ran.result(), strict=True):
                self._settle(job, row, answer)
        self._free += 1
        self._dispatch()

    def _settle(self, job: _Job, row: int, answer: Answer) -> None:
        job.answers[row] = answer
        if len(job.answers) == len(job.texts) and not job.done.done():
            job.timing.done = time.perf_counter()
            job.done.set_result([job.answers[row] for row in range(len(job.texts))])

    def _fail(self, parts: list[tuple[_Job, int]], error: BaseException) -> None:
        for job, _ in parts:
            if not job.done.done():
                job.done.set_exception(error)

    def _forget(self, job: _Job) -> None:
        """Take back the rows of a request that was given up before they were computed."""
        if job in self._jobs:
            self._jobs.remove(job)
            self._waiting -= sum(map(self._cost, job.texts[job.taken :]))

    def _measure(self, texts: Sequence[Text], seconds: float) -> None:
        found = sum(map(self._cost, texts)) / max(seconds, 1e-6)
        self._rate += (found - self._rate) * (_SMOOTHING if self._rate else 1.0)

    def _cost(self, text: Text) -> int:
        return min(length_of(text), self._longest) + _ROW_CHARS

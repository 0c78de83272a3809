"""Batching without a timer: what waits is sent as soon as a worker is free.

An idle server answers one text at once; a busy one finds more waiting whenever it comes back for
work, so batches grow with the load and nothing ever waits for company. They grow no further than
pays: where a worker computes texts one by one as fast as together, a long batch would only have the
first of them wait for the last. Requests take turns, a few rows each, so that a large one does not
hold up the small ones behind it. Work that could not start within `max_wait_s` at the present rate
is refused instead of queued, and under more load than can be borne within much less (`admission`).
What was let in before that came to light is deferred: it is computed when nothing newer comes, and
refused once it has waited for `max_wait_s`.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Protocol

from sartor.core.errors import RequestError, Unanswered
from sartor.core.texts import Text, length_of
from sartor.serve.admission import Admission
from sartor.serve.room import Busy
from sartor.serve.waiting import Answer, Deferred, Job, Timing, by_job

if TYPE_CHECKING:
    from sartor.serve.adapters.graph import Whose

    _Ran = asyncio.Future[tuple[Sequence[Answer], float]]


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
BATCH_S = 0.01
"""Seconds of work in a batch where larger ones gain nothing: a hundred times what a batch costs."""
_MOST_CHARS = 4_000_000
_TURN_ROWS = 8
_ROW_CHARS = 32
_TURNS = 4
"""Requests that fit into a batch, however large they are, while the queue is kept short."""
_SMOOTHING = 0.2


@dataclass(frozen=True, slots=True)
class Pace:
    """How a model gets through its work.

    Args:
        workers: Batches computed at the same time.
        ahead: Batches made up before a worker is free, so that it need not wait for the event loop,
            which may not get a core at once where the workers keep all of them busy.
        batch_s: Seconds of work in a batch after which more gains nothing; infinite where batches
            are the faster the larger they are.
        longest: Characters of a text after which more cost nothing further.
        rate: Characters a second and worker to begin with; 0 takes the first batch's.
    """

    workers: int = 1
    ahead: int = 0
    batch_s: float = math.inf
    longest: int = LONGEST_CHARS
    rate: float = 0.0


class Batcher:
    """Collects concurrent requests for one model; used from one event loop."""

    def __init__(
        self,
        answers: Answers,
        pace: Pace = Pace(),
        *,
        max_wait_s: float = 2.0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """
        Args:
            answers: Called in a worker thread with a batch; one answer a text, in order.
            pace: Of the model.
            max_wait_s: Longest wait that is accepted; infinite where nothing is to be refused.
            clock: Seconds that never run backwards.
        """
        self._clock = clock
        self._answers, self._pace, self._max_wait = answers, pace, max_wait_s
        self._free = self._slots = pace.workers + pace.ahead
        self._pool = ThreadPoolExecutor(pace.workers, thread_name_prefix="sartor-batch")
        self._jobs: deque[Job] = deque()
        self._waiting = 0  # characters of those
        self._ahead = 0  # and of their next turns alone
        self._deferred = Deferred()
        self._running: dict[_Ran, float] = {}  # and when each is to be done
        self._again: asyncio.TimerHandle | None = None
        self._rate = pace.rate
        self._closing = False
        self._admission = Admission(max_wait_s, clock)
        self.watch: Callable[[int, float], None] | None = None
        """Told of each batch that was computed: its rows, and the seconds it took."""

    @property
    def rate(self) -> float:
        """Characters a second and worker, of late; 0 until a batch was measured."""
        return self._rate

    @property
    def waiting_s(self) -> float:
        """Seconds of work that wait, at the present rate."""
        return self._seconds(self._waiting + self._deferred.chars)

    @property
    def allowed_s(self) -> float:
        """Longest wait that is accepted now."""
        return self._admission.bound_s

    async def submit(
        self, texts: Sequence[Text], timing: Timing | None = None, whose: "Whose" = ()
    ) -> list[Answer]:
        """Answers to the texts, in order.

        Args:
            texts: At least one, else the answer is empty.
            timing: Filled in.
            whose: The adapter of each; empty where there is none at all.

        Raises:
            Busy: When too much waits already, or other work went first for `max_wait_s`.
            RequestError: 503 when the server is stopping.
        """
        if self._closing:
            raise RequestError(
                "The server is stopping.", fix="send the request to another one.", status=503
            )
        if not texts:
            return []
        if self.full:
            raise self.refusal()
        job = Job(texts, asyncio.get_running_loop().create_future(), timing or Timing(), whose)
        job.timing.asked = self._clock()
        job.left = sum(map(self._cost, texts))
        if self._free:
            self._admission.idle()
        self._queue(job)
        self._admission.offered(job.left, self._seconds(self._waiting))
        self._shorten()
        self._dispatch()
        try:
            return await job.done
        finally:
            self._forget(job)

    @property
    def full(self) -> bool:
        """Whether a request would be turned away now, whatever it asks."""
        if math.isinf(self._max_wait):
            return False
        if self._admission.flooded:
            return self._soonest_s + self._seconds(self._ahead) > self._admission.bound_s
        if not self._jobs:
            return False
        if self._waiting + self._deferred.chars > _MOST_CHARS:
            return True
        waits = self._ahead if self._admission.tight else self._waiting
        return self._seconds(waits) > self._admission.bound_s

    @property
    def _soonest_s(self) -> float:
        """Seconds until a worker is free, at the present rate."""
        if self._free > self._pace.ahead:
            return 0.0
        return max(0.0, min(self._running.values(), default=0.0) - self._clock())

    def refusal(self) -> Busy:
        """What to tell a request that is turned away, which is counted."""
        self._admission.refused(self._seconds(self._waiting))
        self._shorten()
        return self._busy()

    def _busy(self) -> Busy:
        return Busy(
            f"The server is busy: {self.waiting_s:.1f} s of work wait already.",
            fix=f"try again in {self.retry_after_s} s.",
            where="model",
            retry_after_s=self.retry_after_s,
        )

    @property
    def retry_after_s(self) -> int:
        """Whole seconds after which a refused request may find room."""
        return max(1, math.ceil(self.waiting_s))

    async def close(self) -> None:
        """Answer what was accepted, accept nothing more, and end the workers."""
        self._closing = True
        while (
            waiting := {job.done for job in (*self._jobs, *self._deferred)} | self._running.keys()
        ):
            await asyncio.wait(waiting)
        self._pool.shutdown()

    def _queue(self, job: Job) -> None:
        """Put a request, or what is left of it, at the end."""
        job.turn = sum(self._turn(job))
        self._jobs.append(job)
        self._ahead += job.turn
        self._waiting += job.left

    def _unqueue(self, job: Job) -> None:
        self._ahead -= job.turn
        self._waiting -= job.left

    def _shorten(self) -> None:
        """Where less may wait than does, what came last goes first and the rest is deferred.

        Those who came first have waited already: their time is spoiled, and that of the others
        need not be. What is begun is not deferred.
        """
        bound = self._admission.bound_s
        if not self._jobs or not self._admission.tight:
            return
        if self._seconds(self._ahead - self._jobs[-1].turn) <= bound:
            return
        stay, leave, ahead = deque[Job](), deque[Job](), 0
        for job in reversed(self._jobs):
            if job.taken or self._seconds(ahead) <= bound:
                stay.appendleft(job)
                ahead += job.turn
            else:
                leave.appendleft(job)
                self._unqueue(job)
        self._jobs = stay
        self._deferred.add(leave)

    def _recall(self) -> None:
        """Take back a batch of what was deferred, now that nothing newer waits."""
        while self._deferred and self._ahead < self._room:
            self._queue(self._deferred.take())

    def _expire(self) -> None:
        """Refuse what was deferred and waited as long as anything may."""
        for job in self._deferred.older(self._clock() - self._max_wait):
            if not job.done.done():
                job.done.set_exception(self._busy())

    def _dispatch(self) -> None:
        self._expire()
        flooded = self._admission.flooded
        while self._free > (self._pace.ahead if flooded else 0):
            if not self._jobs and not flooded:
                self._recall()
            if not self._jobs:
                break
            self._free -= 1
            self._start(self._take())
        if flooded and self._deferred and not self._again:
            # Nobody may come any more who would have it looked at again.
            later = asyncio.get_running_loop().call_later
            self._again = later(self._admission.interval_s, self._once_more)

    def _once_more(self) -> None:
        self._again = None
        self._dispatch()

    def _take(self) -> list[tuple[Job, int]]:
        """The next batch as (job, row) pairs; jobs give a few rows each and queue up again."""
        parts: list[tuple[Job, int]] = []
        room = self._room
        while self._jobs and room > 0:
            job = self._jobs.popleft()
            self._unqueue(job)
            job.timing.begun = job.timing.begun or self._clock()
            before = job.taken
            for cost in self._turn(job):
                if parts and cost > room:
                    room = 0
                    break
                parts.append((job, job.taken))
                room -= cost
                job.left -= cost
                job.taken += 1
            if job.taken < len(job.texts):
                self._queue(job)
                if job.taken == before:  # with no room left it keeps its place
                    self._jobs.rotate(1)
        return parts

    @property
    def _room(self) -> int:
        """Characters that a batch may have now."""
        longest = min(self._pace.batch_s, self._admission.batch_s)
        if not self._rate or math.isinf(longest):
            return BATCH_CHARS
        return max(1, min(BATCH_CHARS, int(self._rate * longest)))

    def _turn(self, job: Job) -> list[int]:
        """Characters of each row that a job gives to the next batch."""
        rows = [self._cost(text) for text in job.texts[job.taken : job.taken + _TURN_ROWS]]
        if not self._admission.tight:
            return rows
        most = self._room / _TURNS
        fit = sum(total <= most for total in accumulate(rows))
        return rows[: max(1, fit)]

    def _start(self, parts: list[tuple[Job, int]]) -> None:
        texts = [job.texts[row] for job, row in parts]
        whose = [job.whose[row] if job.whose else None for job, row in parts]
        given = (texts, whose) if any(one is not None for one in whose) else (texts,)
        timed = partial(self._timed, *given)
        ran = asyncio.get_running_loop().run_in_executor(self._pool, timed)
        work = sum(map(self._cost, texts))
        self._running[ran] = self._clock() + (work / self._rate if self._rate else 0.0)
        # A task around each batch would take as long as a small model.
        ran.add_done_callback(partial(self._ended, parts))

    def _ended(self, parts: list[tuple[Job, int]], ran: "_Ran") -> None:
        del self._running[ran]
        error = ran.exception()
        if error is not None:
            self._fail(parts, error)
        else:
            answers, begun = ran.result()
            seconds = self._clock() - begun
            self._measure(parts, seconds)
            if self.watch:
                self.watch(len(parts), seconds)
            for (job, row), answer in zip(parts, answers, strict=True):
                self._settle(job, row, answer)
        self._free += 1
        if not self._jobs:
            self._admission.idle()
        self._dispatch()

    def _timed(self, texts: Sequence[Text], *whose: "Whose") -> tuple[Sequence[Answer], float]:
        """Answers, and when they were begun: what was made up ahead has waited for its worker."""
        begun = self._clock()
        return self._answers(texts, *whose), begun

    def _settle(self, job: Job, row: int, answer: Answer) -> None:
        job.answers[row] = answer
        if len(job.answers) == len(job.texts) and not job.done.done():
            job.timing.done = self._clock()
            job.done.set_result([job.answers[row] for row in range(len(job.texts))])

    def _fail(self, parts: list[tuple[Job, int]], error: BaseException) -> None:
        """Compute each request alone, once: the rows of one may have failed those of the others."""
        waiting = [rows for job, rows in by_job(parts).items() if not job.done.done()]
        if len(by_job(parts)) == 1 or isinstance(error, Unanswered):
            for rows in waiting:
                rows[0][0].done.set_exception(error)
            return
        for rows in waiting:
            self._free -= 1
            self._start(rows)

    def _forget(self, job: Job) -> None:
        """Take back the rows of a request that was given up before they were computed."""
        if job.taken == len(job.texts):
            return
        if job in self._jobs:
            self._jobs.remove(job)
            self._unqueue(job)
        else:
            self._deferred.forget(job)

    def _measure(self, parts: Sequence[tuple[Job, int]], seconds: float) -> None:
        work = sum(self._cost(job.texts[row]) for job, row in parts)
        found = work / max(seconds, 1e-6)
        self._rate += (found - self._rate) * (_SMOOTHING if self._rate else 1.0)
        first = parts[0][0]
        alone = len(parts) == len(first.texts) and all(job is first for job, _ in parts)
        alone = alone and self._free == self._slots - 1
        self._admission.computed(work, seconds, alone)

    def _seconds(self, chars: int) -> float:
        return chars / (self._rate * self._pace.workers) if self._rate else 0.0

    def _cost(self, text: Text) -> int:
        return min(length_of(text), self._pace.longest) + _ROW_CHARS

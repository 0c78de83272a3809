"""Requests that wait to be computed, and those that were put off in a flood."""

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sartor.core.texts import Text

if TYPE_CHECKING:
    from sartor.serve.adapters.graph import Whose

Answer = dict[str, Any]


@dataclass(slots=True)
class Timing:
    """When a request was asked, begun and done, in seconds of `time.perf_counter`."""

    asked: float = 0.0
    begun: float = 0.0
    """When its first row was taken to be computed."""
    done: float = 0.0


@dataclass(slots=True, eq=False)
class Job:
    texts: Sequence[Text]
    done: "asyncio.Future[list[Answer]]"
    timing: Timing
    whose: "Whose" = ()
    left: int = 0
    """Characters of the rows that it has not given yet."""
    taken: int = 0
    turn: int = 0
    """Characters that it gives to the next batch."""
    answers: dict[int, Answer] = field(default_factory=dict[int, Answer])


def by_job(parts: Iterable[tuple[Job, int]]) -> dict[Job, list[tuple[Job, int]]]:
    """The (job, row) pairs of a batch, each job's own."""
    found: dict[Job, list[tuple[Job, int]]] = {}
    for job, row in parts:
        found.setdefault(job, []).append((job, row))
    return found


class Deferred:
    """What was let in before a flood came to light: the oldest first."""

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()
        self.chars = 0
        """Of the rows that wait here."""

    def __bool__(self) -> bool:
        return bool(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs)

    def add(self, jobs: Iterable[Job]) -> None:
        """Put off further ones."""
        for job in jobs:
            self._jobs.append(job)
            self.chars += job.left

    def take(self) -> Job:
        """The oldest, which no longer waits here."""
        job = self._jobs.popleft()
        self.chars -= job.left
        return job

    def older(self, than: float) -> Iterator[Job]:
        """Take those that were asked before a time."""
        while self._jobs and self._jobs[0].timing.asked < than:
            yield self.take()

    def forget(self, job: Job) -> None:
        """Take one out, if it waits here."""
        if job in self._jobs:
            self._jobs.remove(job)
            self.chars -= job.left

"""Many passes at once: each on one thread, side by side.

Threads that share one forward pass wait for one another at the end of every operator; those that
each have a pass of their own never do, and get through up to twice as much. A long text alone is
answered sooner by threads that share; of a short one the processor decides, and it is measured (see
`gains`). So there are two sessions, and the second one, with its own copy of the weights, is opened
only when it would have saved by now what opening it costs, and where memory allows. Small calls do
not wait for that, which takes some hundred milliseconds: they run as before until it is there.
"""

from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock, Thread
from time import perf_counter
from typing import TypeVar

from sartor.core.errors import BundleError
from sartor.core.hashing import file_sha256
from sartor.serve.cores import free_memory
from sartor.serve.gains import Gains
from sartor.serve.session import Session

OPENING = 4_096
"""Tokens that could have run side by side by which opening the second session has paid for itself:
what is spent for nothing, should no more come, is then no more than what was lost by waiting."""
_COPIES = 3
"""Weights that must fit into free memory: as read, as packed for the processor, and to spare."""
_T = TypeVar("_T")


class Lanes:
    """As many lanes as a pass would have threads; safe to share between threads."""

    def __init__(self, path: Path, sha256: str, threads: int) -> None:
        """
        Args:
            path: The graph.
            sha256: Of the file as it was verified.
            threads: Of a pass of the session that is open; lanes in all.
        """
        self._path, self._sha256, self._threads = path, sha256, threads
        self._single: Session | None = None
        self._calls = 0
        self._begun = 0
        self._missed = 0
        self._opening = False
        self._gains = Gains()
        self._lock = Lock()

    def run(
        self,
        shared: Session,
        batches: Sequence[_T],
        tokens: int,
        forward: Callable[[Session, _T], None],
    ) -> None:
        """Run every batch of a call, in whichever session answers it soonest.

        Calls that are under way at the same time share the lanes. Where the graph is no longer the
        one that was verified, the session that was opened then goes on.

        Args:
            shared: The session whose threads share a pass.
            batches: Sorted by length: the last is run first, since the longest must not come at
                the end.
            tokens: Of all of them.
            forward: Runs one of them in a session.
        """
        with self._lock:
            self._calls += 1
            self._begun += 1
            lanes, begun = self._threads // self._calls, self._begun
        try:
            session = self._chosen(len(batches), tokens, lanes) or shared
            if session is not shared and min(lanes, len(batches)) > 1:
                _side_by_side(session, batches, forward, lanes)
            else:
                started = perf_counter()
                for batch in reversed(batches):
                    forward(session, batch)
                # Undisturbed: threads that share had the machine, one thread had a core.
                alone = lanes == self._threads and self._begun == begun
                if len(batches) == 1 and (alone or (session is not shared and lanes)):
                    self._gains.took(session is shared, tokens, perf_counter() - started)
        finally:
            with self._lock:
                self._calls -= 1

    def _chosen(self, batches: int, tokens: int, lanes: int) -> Session | None:
        """The session of single threads where as many passes run as there are lanes, or where one
        thread answers the batches as soon; None for the other."""
        if self._threads < 2:
            return None
        if batches < lanes:
            if self._single is None or self._gains.shares(tokens // max(batches, 1)):
                return None
            return self._single
        with self._lock:
            self._missed += tokens
            due = self._single is None and not self._opening and self._missed >= OPENING
            self._opening |= due
        if due and tokens >= OPENING:
            self._open()  # this call alone pays for it
        elif due:
            Thread(target=self._open, name="opens a lane").start()
        return self._single

    def _open(self) -> None:
        """Open the second session, or forget what was missed where there is no room for it."""
        found, threads = None, self._threads
        try:
            free = free_memory()
            if free is None or _COPIES * self._path.stat().st_size <= free:
                threads = 1
                if file_sha256(self._path) == self._sha256:
                    found, threads = Session.open(self._path, 1), self._threads
        except (OSError, BundleError):
            threads = 1
        with self._lock:
            self._single, self._threads = found, threads
            self._missed, self._opening = 0, False


def _side_by_side(
    session: Session, batches: Sequence[_T], forward: Callable[[Session, _T], None], lanes: int
) -> None:
    waiting = deque(batches)

    def lane() -> None:
        while waiting:
            try:
                batch = waiting.pop()
            except IndexError:  # another lane took it
                return
            forward(session, batch)

    # Imported here: most processes never come this far.
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(lanes, thread_name_prefix="lane") as pool:
        ended = [pool.submit(lane) for _ in range(lanes)]
        try:
            for each in ended:
                each.result()
        except BaseException:
            waiting.clear()  # what the others have not begun is no longer wanted
            raise

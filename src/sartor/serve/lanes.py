"""Many texts at once: several batches side by side, each on one thread.

Threads that share one forward pass wait for one another at the end of every operator; those that
each have a pass of their own never do. A single text is answered sooner by threads that share, so
there are two sessions, and the second one, with its own copy of the weights, is opened only when it
would have saved by now what opening it costs, and where memory allows.
"""

from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import TypeVar

from sartor.core.errors import BundleError
from sartor.core.hashing import file_sha256
from sartor.serve.cores import free_memory
from sartor.serve.session import Session

OPENING = 32_768
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
            threads: Lanes.
        """
        self._path, self._sha256, self._threads = path, sha256, threads
        self._session: Session | None = None
        self._missed = 0
        self._lock = Lock()

    def takes(self, batches: int, tokens: int) -> bool:
        """Whether so many batches are better run here than one after the other.

        Where the graph is no longer the one that was verified, they never are: the session that
        was opened then goes on.

        Args:
            batches: Of one call.
            tokens: Of all of them.
        """
        if self._threads < 2 or batches < self._threads:
            return False
        with self._lock:
            if self._session is None:
                self._missed += tokens
                if self._missed >= OPENING:
                    self._session = self._open()
            return self._session is not None

    def run(self, batches: Sequence[_T], forward: Callable[[Session, _T], None]) -> None:
        """Run every batch, the last first: sorted by length, the longest must not come at the end.

        To be asked only for what it takes.
        """
        session, waiting = self._session, deque(batches)
        assert session is not None

        def lane() -> None:
            while waiting:
                try:
                    batch = waiting.pop()
                except IndexError:  # another lane took it
                    return
                forward(session, batch)

        # Imported here: most processes never come this far.
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(self._threads, thread_name_prefix="lane") as pool:
            ended = [pool.submit(lane) for _ in range(self._threads)]
            try:
                for each in ended:
                    each.result()
            except BaseException:
                waiting.clear()  # what the others have not begun is no longer wanted
                raise

    def _open(self) -> Session | None:
        try:
            free = free_memory()
            if free is not None and _COPIES * self._path.stat().st_size > free:
                return None
            if file_sha256(self._path) == self._sha256:
                return Session.open(self._path, 1)
        except (OSError, BundleError):
            pass
        self._threads = 1
        return None

"""Room for requests: what finds none is refused at once, never queued without bound.

Four places can fill up, and each has a limit of its own: requests in progress, bytes of their
bodies, work that waits for the model, entries that wait for the disk.
"""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal

from sartor.core.errors import RequestError

Place = Literal["requests", "bodies", "model", "store"]


class Busy(RequestError):
    """Refused for want of room, with 503.

    Args:
        where: What was full.
        retry_after_s: Whole seconds after which there may be room.
    """

    def __init__(self, what: str, *, fix: str, where: Place, retry_after_s: int = 1) -> None:
        super().__init__(what, fix=fix, status=503)
        self.where: Place = where
        self.retry_after_s = retry_after_s


class Budget:
    """An amount that several threads take from and give back."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0
        self._lock = threading.Lock()

    def take(self, amount: int) -> bool:
        """Whether there was room; a last piece may pass the limit, so that none is too large."""
        with self._lock:
            if self._taken >= self._most:
                return False
            self._taken += amount
            return True

    def give(self, amount: int) -> None:
        with self._lock:
            self._taken -= amount


class Room:
    """Requests in progress and the bodies they hold; used from one event loop."""

    def __init__(self, requests: int, body_bytes: int) -> None:
        self._requests, self._bodies = Budget(requests), Budget(body_bytes)

    @contextmanager
    def place(self) -> Generator["Held"]:
        """A place for one request, until the block ends.

        Raises:
            Busy: If none is free.
        """
        if not self._requests.take(1):
            raise Busy(
                "The server has as many requests in progress as it takes.",
                fix="try again in a second.",
                where="requests",
            )
        held = Held(self._bodies)
        try:
            yield held
        finally:
            held.free()
            self._requests.give(1)


class Held:
    """What one request holds of the room for bodies."""

    def __init__(self, budget: Budget) -> None:
        self._budget, self._bytes = budget, 0

    def more(self, amount: int) -> None:
        """Hold so many bytes more.

        Raises:
            Busy: If the bodies of all requests fill their room.
        """
        # A request without a body needs no room for one.
        if amount and not self._budget.take(amount):
            raise Busy(
                "The bodies of the requests in progress fill the room that they have.",
                fix="try again in a second.",
                where="bodies",
            )
        self._bytes += amount

    def free(self) -> None:
        self._budget.give(self._bytes)
        self._bytes = 0

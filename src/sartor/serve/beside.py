"""One piece of work in a thread beside the caller's.

`concurrent.futures` does the same and more; importing it, with the logging that it brings, takes as
long as hashing a small model.
"""

from collections.abc import Callable
from threading import Thread
from typing import TypeVar

from sartor.core.errors import SartorError

_T = TypeVar("_T")


def beside(work: Callable[[], _T]) -> Callable[[], _T]:
    """Start `work` in a thread; what is returned waits for it, and gives or raises what it did."""
    given: list[_T] = []
    raised: list[SartorError | OSError] = []

    def run() -> None:
        try:
            given.append(work())
        except (SartorError, OSError) as error:  # goes on to whoever waits
            raised.append(error)

    thread = Thread(target=run, name="beside", daemon=True)
    thread.start()

    def ended() -> _T:
        thread.join()
        if raised:
            raise raised[0]
        # Where it broke in a way that nobody foresaw, it breaks again here, before the caller.
        return given[0] if given else work()

    return ended

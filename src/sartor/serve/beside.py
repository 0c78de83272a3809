"""One piece of work in a thread beside the caller's.

`concurrent.futures` does the same and more; importing it, with the logging that it brings, takes as
long as hashing a small model.
"""

from collections.abc import Callable
from threading import Thread
from typing import TypeVar

_T = TypeVar("_T")


def beside(work: Callable[[], _T]) -> Callable[[], _T]:
    """Start `work` in a thread; what is returned waits for it, and gives or raises what it did."""
    given: list[_T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            given.append(work())
        except BaseException as error:  # noqa: BLE001  # goes on to whoever waits
            raised.append(error)

    thread = Thread(target=run, name="beside", daemon=True)
    thread.start()

    def ended() -> _T:
        thread.join()
        if raised:
            raise raised[0]
        return given[0]

    return ended

"""One process at a time, by a file lock that dies with the process that holds it."""

import fcntl
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from sartor.core.durable import disk_space


@contextmanager
def turn(file: Path, waiting: Callable[[], None]) -> Generator[None]:
    """Hold `file` for the length of the block.

    Args:
        file: Created when absent; its content does not matter.
        waiting: Called when another process holds it, before this one waits; it may raise instead.
    """
    with disk_space(file), file.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield

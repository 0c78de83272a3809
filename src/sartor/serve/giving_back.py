"""Give freed memory back to the system: an allocator keeps what a large model has left.

glibc gives threads arenas of their own, up to eight a core, and keeps freed pages in each. Every
model that is loaded comes with new threads, so a server that swapped its model some dozen times
would hold several times what it uses, the more the more arenas its pieces are spread over. Few
arenas, and `malloc_trim`, which returns what is free in them, keep it at what one model takes.
"""

import ctypes
import os
from contextlib import suppress

_ARENA_MAX = -8  # malloc.h
_ARENAS = 2


def few_arenas() -> None:
    """Let all threads share two arenas; to be called before there are many.

    Does nothing where MALLOC_ARENA_MAX says how many, or the C library has no arenas.
    """
    if "MALLOC_ARENA_MAX" in os.environ:
        return
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_ARENA_MAX, _ARENAS)


def give_back() -> None:
    """Return free pages; does nothing where the C library has no such function.

    Takes some milliseconds, in which other threads may wait for memory.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)

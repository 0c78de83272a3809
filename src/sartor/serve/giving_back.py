"""Give freed memory back to the system: an allocator keeps what a large model has left.

glibc keeps freed pages in an arena for each thread that allocated, so a server that swapped its
model some dozen times would hold several times what it uses. `malloc_trim` returns them.
"""

import ctypes
from contextlib import suppress


def give_back() -> None:
    """Return free pages; does nothing where the C library has no such function.

    Takes some milliseconds, in which other threads may wait for memory.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)

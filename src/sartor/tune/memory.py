"""Freed memory stays in the process while it trains, and goes back when it has trained.

Every step asks for the same few hundred megabytes again. The C library gives large blocks back to
the system at once and takes new ones, and the system clears each page of them: a tenth to a quarter
of a step on a machine with slow memory. GNU's C library can be told otherwise; where there is
another, nothing happens.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # malloc.h
_NEVER = 2**31 - 1
_MAPS = 65_536  # the library's own bound
_LARGE = 32 * 1024 * 1024
"""From here on the library maps blocks, once its rule, which adapts itself, has adapted fully."""


@contextmanager
def kept_memory() -> Iterator[None]:
    """For the block: what is freed is used again. After it, what is free goes to the system."""
    library: Any = ctypes.CDLL(None)
    if not (hasattr(library, "mallopt") and hasattr(library, "malloc_trim")):
        yield
        return
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, _NEVER)
    try:
        yield
    finally:
        # Setting anything ended the library's own adapting: leave it where that would have ended.
        library.mallopt(_MMAP_MAX, _MAPS)
        library.mallopt(_MMAP_THRESHOLD, _LARGE)
        library.mallopt(_TRIM_THRESHOLD, 2 * _LARGE)
        library.malloc_trim(0)

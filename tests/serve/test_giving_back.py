"""Threads of a server share few arenas, so that what one model leaves is of use to the next."""

import ctypes
import subprocess
import sys

import pytest

from tests.stories.shop import environment

_ALLOCATES = """
import ctypes, sys, threading
from sartor.serve.giving_back import few_arenas

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
if "few" in sys.argv:
    few_arenas()
gate = threading.Barrier(6)

def allocate():
    libc.malloc(100)
    gate.wait()

threads = [threading.Thread(target=allocate) for _ in range(5)]
for thread in threads:
    thread.start()
gate.wait()
libc.malloc_stats()
"""


def arenas(*words: str, **more: str) -> int:
    """How many a process has whose threads all allocate at the same time."""
    said = subprocess.run(
        [sys.executable, "-c", _ALLOCATES, *words],
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return said.stderr.count("Arena ")


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "malloc_stats"), reason="the C library has no arenas"
)
def test_threads_share_two_arenas_unless_the_environment_says_how_many():
    assert arenas() > 2
    assert arenas("few") == 2
    assert arenas("few", MALLOC_ARENA_MAX="4") == 4

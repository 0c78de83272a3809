"""Freed memory is used again inside the block and given back after it; asked of a fresh process."""

import subprocess
import sys

import pytest

_SCRIPT = """
import resource
import numpy as np
from sartor.tune.memory import kept_memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6

def fill():
    # NumPy asks for huge pages from 4 MB on, which hides the faults.
    return [np.ones(3_000_000, np.int8) for _ in range(15)] and None

def faults(rounds):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        fill()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

start = resident()
plain = faults(5)
with kept_memory():
    fill()
    kept, inside = faults(5), resident()
print(plain, kept, inside - start, resident() - start)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="what is measured is GNU's C library on Linux")
def test_memory_is_used_again_inside_and_goes_back_afterwards():
    ran = subprocess.run(
        [sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=True, timeout=60
    )

    plain, kept, inside, after = map(float, ran.stdout.split())
    assert plain > 1_000, "nothing was given back before; the test would be vacuous"
    assert kept < plain / 10
    assert inside > 30
    assert after < 15

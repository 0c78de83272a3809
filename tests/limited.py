"""A disk that is full for a while: no file grows beyond a size."""

import resource
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def no_longer_files(most: int) -> Generator[None]:
    """Whatever this process writes behind so many bytes of a file is refused by the system."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

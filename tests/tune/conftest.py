"""Tiny fits on one thread: bytes are compared, and small matrices are slower on more."""

from collections.abc import Iterator

import pytest
import torch

from tests.exports import filled_in

__all__ = ["filled_in"]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)

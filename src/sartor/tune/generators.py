"""The process's random generators: seeded for a run, saved with it, given back afterwards."""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch, NumPy and Python for the block; the caller's states come back after it."""
    devices = range(torch.cuda.device_count())
    # numpy.random.RandomState's global is what third-party layers would draw from.
    numpy_before, python_before = np.random.get_state(), random.getstate()
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(numpy_before)
            random.setstate(python_before)


def save_generators() -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The three generators' states: JSON values, and tensors where the state is bytes."""
    _, keys, position, has_gauss, cached = np.random.get_state()
    version, words, gauss = random.getstate()
    values = {
        "numpy": {"position": position, "has_gauss": has_gauss, "cached": cached},
        "python": {"version": version, "words": list(words), "gauss": gauss},
    }
    tensors = {
        "torch": torch.get_rng_state(),
        "numpy": torch.from_numpy(np.asarray(keys, dtype=np.int64)),
    }
    for device in range(torch.cuda.device_count()):
        tensors[f"cuda{device}"] = torch.cuda.get_rng_state(device)
    return values, tensors


def restore_generators(values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """The inverse of `save_generators`."""
    torch.set_rng_state(tensors["torch"])
    held = values["numpy"]
    keys = tensors["numpy"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", keys, held["position"], held["has_gauss"], held["cached"]))
    python = values["python"]
    random.setstate((python["version"], tuple(python["words"]), python["gauss"]))
    for device in range(torch.cuda.device_count()):
        if f"cuda{device}" in tensors:
            torch.cuda.set_rng_state(tensors[f"cuda{device}"], device)

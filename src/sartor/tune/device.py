"""Where a model is computed: on the GPU where there is one, and back where it came from."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from torch import nn


@contextmanager
def computing(model: nn.Module) -> Iterator[torch.device]:
    """The model on the device that accelerate chooses, for the block.

    Whatever holds tensors beside the model's is to be made inside: its parameters stay the same
    objects, but what is made of them before stays where they were.
    """
    home, there = next(model.parameters()).device, accelerator().device
    model.to(there)
    try:
        yield there
    finally:
        model.to(home)


def accelerator() -> Accelerator:
    """One that leaves the precision to us, whatever this process has trained before.

    The state of accelerate is the process's: after a stock Trainer with bf16 it would refuse "no",
    and convert what we have converted.
    """
    # Without this, accelerate would take Apple's GPU, on which nothing here was ever seen to work.
    found = Accelerator(cpu=not torch.cuda.is_available())
    found.native_amp = False
    found.scaler = None
    return found

"""Hidden states in bfloat16 between the layers, where the products are in bfloat16.

Autocast converts what enters a product and leaves the rest in float32: embeddings come in float32,
so each sum behind a product is float32 again, is converted anew for the next, and everything
element by element moves twice the bytes. Converting once, before the first layer, keeps the stream
narrow. Weights, their gradients, the sums inside a normalisation, the mean over tokens, the head's
loss and the optimizer stay in float32.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sartor.tasks._encoder.model import layer_stack


@contextmanager
def narrow_states(model: nn.Module) -> Iterator[None]:
    """Under autocast, what enters the first layer of each encoder in the model is autocast's type.

    Nothing changes outside autocast, nor where the layers are not kept in one list.
    """
    handles = [
        stack[0].register_forward_pre_hook(_narrow)
        for encoder in model.modules()
        if isinstance(encoder, PreTrainedModel) and (stack := layer_stack(encoder))
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _narrow(layer: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
    states = args[0] if args else None
    if not isinstance(states, Tensor) or not torch.is_autocast_enabled(states.device.type):
        return None
    return states.to(torch.get_autocast_dtype(states.device.type)), *args[1:]

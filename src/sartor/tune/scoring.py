"""Answers of a model in eval mode, and their log-loss."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sartor.core.likelihood import Truth, losses
from sartor.core.protocols import Floats
from sartor.core.ragged import stacked
from sartor.tune.batching import Budget, Inputs, plan_in_order


def score(
    model: nn.Module, inputs: Inputs, *, rows: Sequence[int] | None = None, bf16: bool = False
) -> Floats:
    """(rows, outputs) logits in eval mode, or (rows, pieces, outputs) as wide as the longest row;
    the model's mode is restored.

    Args:
        model: Takes what `inputs.batch` gives.
        inputs: What it reads.
        rows: Which rows to score, in this order; all when None.
        bf16: Whether matrix products run in bfloat16.
    """
    lengths = inputs.lengths()
    chosen = np.arange(len(lengths)) if rows is None else np.asarray(rows, dtype=np.int64)
    device = next(model.parameters()).device
    found: dict[int, NDArray[np.float32]] = {}
    was_training = model.training
    model.eval()
    with torch.inference_mode(), precision(device, bf16=bf16):
        # Without gradients a batch can hold more before the caches overflow.
        for places in plan_in_order(lengths[chosen], Budget(tokens=4096, rows=64)):
            batch = inputs.batch(chosen[places])
            logits = model(*(part.to(device) for part in batch)).float().cpu().numpy()
            found.update(zip(places.tolist(), logits, strict=True))
    model.train(was_training)
    return stacked([found[i] for i in range(len(found))])


def score_sample(model: nn.Module, inputs: Inputs, drawn: tuple[int, int], *, bf16: bool) -> Floats:
    """(rows, outputs): logits of a sample, drawn as (seed, count) says, NaN elsewhere."""
    total, (seed, most) = len(inputs.lengths()), drawn
    chosen = np.sort(np.random.default_rng(seed).permutation(total)[:most])
    found = score(model, inputs, rows=chosen.tolist(), bf16=bf16)
    logits = np.full((total, *found.shape[1:]), np.nan, dtype=np.float32)
    logits[chosen] = found
    return logits


def log_loss(logits: Floats, truth: Truth) -> float:
    """Mean negative log-probability of the truth, natural log."""
    return float(losses(logits, truth).mean())


def precision(device: torch.device, *, bf16: bool) -> AbstractContextManager[object]:
    """Matrix products of the block in bfloat16, or as they are."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if bf16 else nullcontext()

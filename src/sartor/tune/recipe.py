"""What a run of the gradient loop is given, and what it tells."""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from sartor.core.events import Emit, silent
from sartor.core.likelihood import Truth
from sartor.tune.batching import Inputs
from sartor.tune.checkpoint import Checkpoints
from sartor.tune.settings import Loop

Loss = Callable[[Tensor, Tensor], Tensor]
"""(batch, outputs) logits and the truth of as many rows to a scalar, averaged over rows."""


Halts = Callable[[float, float], bool]


def never(share: float, loss: float) -> bool:
    """For fits that are compared with no others."""
    return False


@dataclass(frozen=True, slots=True)
class Rows:
    """What a model reads, with the answers; see `core.likelihood` for their forms."""

    inputs: Inputs
    labels: Truth


@dataclass(frozen=True, slots=True)
class Recipe:
    """What decides the result.

    Args:
        loop: The loop's settings.
        seed: Of batches and dropout.
        loss: What training minimises.
        rate: Trainable tensor's name to its peak learning rate.
        bf16: Whether matrix products run in bfloat16, as the precision probe told.
        method: The attached method; the loop calls those of `Schedules`, `Penalises` and
            `Objective` that it has.
        pretrained: The tensors that came with the backbone.
        objective: What the task trains towards instead of `loss`; see `tune.api.Objective`.
    """

    loop: Loop
    seed: int
    loss: Loss
    rate: Callable[[str], float]
    bf16: bool = False
    method: object = None
    pretrained: Collection[nn.Parameter] = ()
    objective: object = None


@dataclass(frozen=True, slots=True)
class Watch:
    """What does not decide the result, bar where the clock cuts it.

    Args:
        checkpoints: Where to save and to resume from; None keeps nothing.
        every_seconds: Time between checkpoints.
        every_steps: Steps between checkpoints; 0 leaves it to the time.
        deadline: `time.monotonic()` after which training ends at the next step.
        cut_at: Steps after which it ends instead, where a clock cut it before.
        on_cut: Told the steps done when the deadline ends training, with a checkpoint there.
        whole: Whether only a fit that comes to its end is of use: then one whose rest would clearly
            outlast the deadline ends as soon as its own steps say so.
        halts: Share of the steps that is done and best validation log-loss so far to whether
            training ends there; asked after each evaluation.
        on_halt: Told the steps done when that ends training, with a checkpoint there.
        emit: Told of progress.
    """

    checkpoints: Checkpoints | None = None
    every_seconds: float = 60.0
    every_steps: int = 0
    deadline: float = math.inf
    cut_at: int | None = None
    on_cut: Callable[[int], object] = field(default=lambda steps: None)
    whole: bool = False
    halts: Halts = never
    on_halt: Callable[[int], object] = field(default=lambda steps: None)
    emit: Emit = field(default=silent)


@dataclass(frozen=True, slots=True)
class Trained:
    """How a run went.

    Args:
        history: One mapping an evaluation: step, share, epoch, train_loss, validation_log_loss.
        steps: Optimiser steps done over all of the run's processes.
        tokens: Real tokens read by this process.
        seconds: Wall time of this process's steps, evaluations and checkpoints aside.
        cut: Whether the deadline or `halts` ended it, now or before.
    """

    history: Sequence[dict[str, float]]
    steps: int
    tokens: int
    seconds: float
    cut: bool

"""Takes neurons out of the feed-forward parts, those that the loss feels least.

Molchanov et al. 2017, https://arxiv.org/abs/1611.06440. Two thirds of an encoder's products are in
these parts. Both of their matrices lose rows or columns, so what is left is a smaller dense graph
that any runtime computes faster; then the rest recovers.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Le, Lt

from sartor.shrink.api import COMPRESSORS, Bench, Eased, Form, Place
from sartor.shrink.pruning import prune
from sartor.shrink.students import Whole
from sartor.tasks._encoder.sizes import neurons_of

_STEP = 32
"""Columns that matrix kernels like to have a multiple of."""


@COMPRESSORS.add
@dataclass(frozen=True, slots=True)
class PruneFfn:
    """Keeps a share of all neurons; of each layer a multiple of 32."""

    eases: ClassVar[tuple[Eased, ...]] = ("size", "speed")
    trains: ClassVar[bool] = True
    place: ClassVar[Place] = "neurons"

    keep: Annotated[float, Gt(0), Lt(1)] = 0.5
    """Share of the encoder's neurons that stay."""
    rows: Annotated[int, Ge(1)] = 512
    """Training rows that a neuron's importance is measured on."""
    epochs: Annotated[int, Ge(1), Le(1000)] = 3
    """Passes over the training rows to recover."""
    lr: Annotated[float, Gt(0), Le(1)] = 1e-4
    """Peak learning rate of all weights while they recover."""

    def compress(self, source: Form, target: Path, bench: Bench) -> None:
        whole = Whole.opened("prune_ffn", source, bench)
        student = prune(whole, neurons_of, self.keep, self.rows, _STEP)
        whole.teach(student, target, self.epochs, self.lr)

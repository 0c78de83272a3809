"""Takes attention heads out, those that the loss feels least, and lets the rest recover.

Michel et al. 2019, https://arxiv.org/abs/1905.10650: in a trained encoder most heads can go. The
matrices of queries, keys, values and the output lose their rows and columns, so what is left is a
smaller dense graph that any runtime computes faster.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Le, Lt

from sartor.shrink.api import COMPRESSORS, Bench, Eased, Form, Place
from sartor.shrink.pruning import prune
from sartor.shrink.students import Whole
from sartor.tasks._encoder.sizes import heads_of


@COMPRESSORS.add
@dataclass(frozen=True, slots=True)
class PruneHeads:
    """Keeps a share of all heads, at least one in each layer."""

    eases: ClassVar[tuple[Eased, ...]] = ("size", "speed")
    trains: ClassVar[bool] = True
    place: ClassVar[Place] = "heads"

    keep: Annotated[float, Gt(0), Lt(1)] = 0.5
    """Share of the encoder's heads that stay."""
    rows: Annotated[int, Ge(1)] = 512
    """Training rows that a head's importance is measured on."""
    epochs: Annotated[int, Ge(1), Le(1000)] = 3
    """Passes over the training rows to recover."""
    lr: Annotated[float, Gt(0), Le(1)] = 1e-4
    """Peak learning rate of all weights while they recover."""

    def compress(self, source: Form, target: Path, bench: Bench) -> None:
        whole = Whole.opened("prune_heads", source, bench)
        student = prune(whole, heads_of, self.keep, self.rows)
        whole.teach(student, target, self.epochs, self.lr)

"""Int8 that was trained for: a short tune that computes as the quantised graph will, then int8.

Where rounding after training loses too much, weights that have learnt under it lose less: Jacob et
al. 2018, https://arxiv.org/abs/1712.05877. Every product of the tune sees weights in 7 bits, one
scale for each output channel, and activations in 8 bits, as `int8_dynamic` will make them; the
gradient passes straight through. The weights in torch stay floats.
"""

from dataclasses import dataclass
from pathlib import Path
from shutil import move
from tempfile import TemporaryDirectory
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Le

from sartor.shrink.api import COMPRESSORS, GRAPH, Bench, Eased, Form, Place
from sartor.shrink.compressors.int8_dynamic import Int8Dynamic, rounded
from sartor.shrink.students import Whole


@COMPRESSORS.add
@dataclass(frozen=True, slots=True)
class QuantiseAware:
    """Tunes all weights a little under rounding, and quantises the graph."""

    eases: ClassVar[tuple[Eased, ...]] = ("size", "speed")
    trains: ClassVar[bool] = True
    place: ClassVar[Place] = "weights"
    regains: ClassVar[str] = "int8_dynamic"
    """What it makes up the loss of: where that keeps parity, this is the same graph, trained."""

    epochs: Annotated[int, Ge(1), Le(1000)] = 2
    """Passes over the training rows."""
    lr: Annotated[float, Gt(0), Le(1)] = 3e-5
    """Peak learning rate: the weights have only to lie better, not to learn the task."""

    def compress(self, source: Form, target: Path, bench: Bench) -> None:
        whole = Whole.opened("quantise_aware", source, bench)
        if rounded(source.graph):
            raise whole.nothing(f"{source.graph.name} computes in eight bits already")
        with TemporaryDirectory() as place:
            floats = Path(place)
            whole.teach(whole.model, floats, self.epochs, self.lr, {"int8": True})
            Int8Dynamic().compress(source.left_in(floats), target, bench)
            for written in sorted(floats.iterdir()):
                if written.name != GRAPH:
                    move(written, target / written.name)

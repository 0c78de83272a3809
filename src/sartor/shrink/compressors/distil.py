"""Builds a student of the whole model's own parts, a quarter of it or less, and lets it study long.

Layers evenly spread (Sanh et al. 2019, https://arxiv.org/abs/1910.01108), of each the neurons that
the loss feels most; then many passes over the training texts, those without a label included, on
the whole model's answers (Hinton et al. 2015, https://arxiv.org/abs/1503.02531) and on what its
head reads (Sun et al. 2019, https://arxiv.org/abs/1908.09355).

`drop_layers` repairs a model that lost little; this one starts from one that lost nearly all. It is
narrower as well, is told the hidden states, and studies longer, for which unlabelled texts pay.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Le, Lt

from sartor.shrink.api import COMPRESSORS, Bench, Eased, Form, Place
from sartor.shrink.compressors.drop_layers import spread, with_layers
from sartor.shrink.pruning import prune
from sartor.shrink.students import Whole
from sartor.tasks._encoder.sizes import neurons_of

_STEP = 32
"""Columns that matrix kernels like to have a multiple of."""


@COMPRESSORS.add
@dataclass(frozen=True, slots=True)
class Distil:
    """Teaches a shallow, narrow student."""

    eases: ClassVar[tuple[Eased, ...]] = ("size", "speed")
    trains: ClassVar[bool] = True
    place: ClassVar[Place] = "layers"

    layers: Annotated[float, Gt(0), Lt(1)] = 0.34
    """Share of the layers that the student has, at least one; rounded to whole layers."""
    neurons: Annotated[float, Gt(0), Le(1)] = 0.5
    """Share of the feed-forward neurons that it has; 1 for all."""
    rows: Annotated[int, Ge(1)] = 512
    """Training rows that a neuron's importance is measured on."""
    epochs: Annotated[int, Ge(1), Le(1000)] = 10
    """Passes over the training texts."""
    lr: Annotated[float, Gt(0), Le(1)] = 2e-4
    """Peak learning rate of all weights."""
    share: Annotated[float, Ge(0), Le(1)] = 0.7
    """Share of the whole model in the loss of a row that has a label."""
    hidden: Annotated[float, Ge(0)] = 1.0
    """Pull of what the head reads towards what the whole model's head reads."""

    def compress(self, source: Form, target: Path, bench: Bench) -> None:
        whole = Whole.opened("distil", source, bench)
        total = len(whole.layers())
        count = min(max(1, round(self.layers * total)), total - 1)
        if count < 1:
            raise whole.nothing("one layer is the least an encoder can have")
        student = with_layers(whole.model, spread(total, count))
        if self.neurons < 1:
            student = prune(whole.of(student), neurons_of, self.neurons, self.rows, _STEP)
        told = {"teacher_share": self.share, "hidden": self.hidden}
        whole.teach(student, target, self.epochs, self.lr, told)

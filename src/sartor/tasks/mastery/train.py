"""The training half of mastery.

Its models are arrays that a descent on all rows at once finds (see `model` and `tune.tracing`);
which parts they have, the method says. This half rebuilds what was saved.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import Len
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from sartor.tasks import TRAINERS
from sartor.tasks._encoder import model as one_text
from sartor.tasks._encoder.one_text import OneText
from sartor.tasks.mastery.model import SHAPE, WEIGHTS, rebuild


def load(folder: Path) -> nn.Module:
    """Rebuild what was saved, in eval mode.

    Raises:
        ModelError: If a file is missing or does not fit the others.
    """
    try:
        shape = json.loads((folder / SHAPE).read_text(encoding="utf-8"))
        return rebuild(shape, load_file(folder / WEIGHTS))
    except one_text.FAULTS as error:
        raise one_text.not_saved(folder, error) from error


@TRAINERS.add
@dataclass(frozen=True, slots=True)
class Mastery(OneText):
    """What the task adds to every method's settings."""

    layers: Annotated[tuple[int, ...], Len(1)] = (-1,)
    """Hidden states of the backbone that say what an item's text is about; negative counts from the
    top, 0 is the embedding layer."""

    def weights(self, truth: NDArray[np.uint32], outputs: int) -> NDArray[np.float32]:
        """(outputs,) ones: an item is no class that could be rare."""
        return np.ones(outputs, np.float32)

    def loss(self, logits: Tensor, labels: Tensor, weights: Tensor, smoothing: float) -> Tensor:
        """Mean of −log of the probability given to whether the asked item was answered right.

        Args:
            logits: (batch, items).
            labels: (batch, 2) the item that was asked, and 1 where it was right.
            weights: (items,), all 1.
            smoothing: Share of the target that is drawn to one half.
        """
        asked = logits.gather(1, labels[:, :1].long())[:, 0]
        wanted = labels[:, 1].to(asked.dtype) * (1 - smoothing) + smoothing / 2
        return nn.functional.binary_cross_entropy_with_logits(asked, wanted)

"""The training half of recommendation.

Its models are sums of arrays (see `model`), made in closed form or by a short descent over cached
texts; which of them a method fits, it says itself. This half rebuilds what was saved.
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
from sartor.tasks.recommendation.model import SHAPE, WEIGHTS, rebuild
from sartor.tasks.retrieval.train import Retrieval


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
class Recommendation(OneText):
    """What the task adds to every method's settings."""

    layers: Annotated[tuple[int, ...], Len(1)] = (-1,)
    """Hidden states of the backbone that say what an item's text is about; negative counts from the
    top, 0 is the embedding layer."""

    def weights(self, truth: NDArray[np.int64], outputs: int) -> NDArray[np.float32]:
        """(outputs,) ones: an item is no class that could be rare."""
        return np.ones(outputs, np.float32)

    def loss(self, logits: Tensor, labels: Tensor, weights: Tensor, smoothing: float) -> Tensor:
        """As of retrieval: −log of the share of the right items among all.

        Args:
            logits: (batch, items).
            labels: (batch, 1, most) right items, then −1.
            weights: (items,), all 1.
            smoothing: Share of the target spread over all items.
        """
        return Retrieval().loss(logits, labels, weights, smoothing)

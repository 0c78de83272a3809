"""The training half of recommendation.

Its models are sums of arrays (see `model`), made in closed form or by a short descent over cached
texts; which of them a method fits, it says itself. This half rebuilds what was saved.
"""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from sartor.tasks import TRAINERS
from sartor.tasks._encoder.files import read_model
from sartor.tasks._encoder.of_items import OfItems
from sartor.tasks.recommendation.model import rebuild
from sartor.tasks.retrieval.train import Retrieval


def load(folder: Path) -> nn.Module:
    """Rebuild what was saved, in eval mode.

    Raises:
        ModelError: If a file is missing or does not fit the others.
    """
    return read_model(folder, rebuild)


@TRAINERS.add
@dataclass(frozen=True, slots=True)
class Recommendation(OfItems):
    """What the task adds to every method's settings."""

    def loss(self, logits: Tensor, labels: Tensor, weights: Tensor, smoothing: float) -> Tensor:
        """As of retrieval: −log of the share of the right items among all.

        Args:
            logits: (batch, items).
            labels: (batch, 1, most) right items, then −1.
            weights: (items,), all 1.
            smoothing: Share of the target spread over all items.
        """
        return Retrieval().loss(logits, labels, weights, smoothing)

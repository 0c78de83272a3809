"""The training half of mastery.

Its models are arrays that a descent on all rows at once finds (see `model` and `tune.tracing`);
which parts they have, the method says. This half rebuilds what was saved.
"""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from sartor.tasks import TRAINERS
from sartor.tasks._encoder.files import read_model
from sartor.tasks._encoder.of_items import OfItems
from sartor.tasks.mastery.model import rebuild


def load(folder: Path) -> nn.Module:
    """Rebuild what was saved, in eval mode.

    Raises:
        ModelError: If a file is missing or does not fit the others.
    """
    return read_model(folder, rebuild)


@TRAINERS.add
@dataclass(frozen=True, slots=True)
class Mastery(OfItems):
    """What the task adds to every method's settings."""

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

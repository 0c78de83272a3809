"""How a task whose outputs are items reads their texts."""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from annotated_types import Len
from numpy.typing import NDArray

from sartor.tasks._encoder.one_text import OneText


@dataclass(frozen=True, slots=True)
class OfItems(OneText):
    """To be inherited by the settings of such a task."""

    layers: Annotated[tuple[int, ...], Len(1)] = (-1,)
    """Hidden states of the backbone that say what an item's text is about; negative counts from the
    top, 0 is the embedding layer."""

    def weights(self, truth: NDArray[Any], outputs: int) -> NDArray[np.float32]:
        """(outputs,) ones: an item is no class that could be rare."""
        return np.ones(outputs, np.float32)

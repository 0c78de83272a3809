"""What a head reads of two texts that were encoded apart.

x = [u, v, |u − v|, u · v] for each layer,   u and v the mean of a text's hidden states
x = [u + v, |u − v|, u · v]                  where the order of the two must not matter

Reimers and Gurevych 2019, https://arxiv.org/abs/1908.10084
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from sartor.core.protocols import Floats
from sartor.core.texts import Text, parts_of


def parts(symmetric: bool) -> int:
    """Blocks of one layer's width that `compared` gives."""
    return 3 if symmetric else 4


def compared(u: Any, v: Any, symmetric: bool) -> tuple[Any, ...]:
    """The blocks, each shaped as `u` and `v`, which are (…, width); NumPy's or torch's."""
    first = (u + v,) if symmetric else (u, v)
    return (*first, abs(u - v), u * v)


class Source(Protocol):
    """Texts to pooled hidden states, as a method reads them."""

    @property
    def max_length(self) -> int: ...

    def features(self, texts: Sequence[str], layers: Sequence[int]) -> Floats: ...


@dataclass(frozen=True, slots=True)
class PairSource:
    """Pairs to what a head reads of them, from the cached activations of each text alone.

    A text is encoded once, however many pairs it stands in and on whichever side.

    Args:
        source: Of single texts.
        symmetric: See `compared`.
    """

    source: Source
    symmetric: bool

    @property
    def max_length(self) -> int:
        """Tokens that each of the two texts is cut at."""
        return self.source.max_length

    def features(self, texts: Sequence[Text], layers: Sequence[int]) -> Floats:
        """(pairs, len(layers) · parts · width), a layer's blocks side by side.

        Args:
            texts: Pairs.
            layers: As of the source.
        """
        pairs = [parts_of(text) for text in texts]
        flat = [pair[side] for side in (0, 1) for pair in pairs]
        found = self.source.features(flat, layers).reshape(2, len(pairs), len(layers), -1)
        blocks = np.concatenate(compared(found[0], found[1], self.symmetric), axis=-1)
        return blocks.reshape(len(pairs), -1)

"""Batches on their way into the cache: collected until they make a segment worth writing."""

from collections.abc import Callable, Sequence

import numpy as np

from sartor.core.activations import Activations, Space
from sartor.models.passes import Halves, Indices

_SEGMENT_BYTES = 32 << 20
"""Values after which a segment is written, however few the texts: they are held in memory."""


class Shelf:
    """Collects batches of one space, in the order they come.

    Args:
        cache: Where they go; None to forget them.
        space: Of the values.
        keys: Of all texts; a batch names its own by their indices.
        texts: How many make a segment.
        declined: Called when the cache has no room for a segment.
    """

    def __init__(
        self,
        cache: Activations | None,
        space: Space,
        keys: Sequence[bytes],
        texts: int,
        declined: Callable[[Activations], None],
    ) -> None:
        self._cache, self._space, self._keys = cache, space, keys
        self._texts, self._declined = texts, declined
        self._waiting: list[tuple[Indices, Halves]] = []

    def add(self, batch: Indices, values: Halves) -> None:
        """Take a batch, and write what waits when it is enough.

        Args:
            batch: Its texts, as indices into the keys.
            values: (texts, layers + 1, width), or (texts, tokens, width) of token states.
        """
        if self._cache is None or not len(batch):
            return
        self._waiting.append((batch, values))
        enough = sum(len(texts) for texts, _ in self._waiting) >= self._texts
        if enough or sum(waiting.nbytes for _, waiting in self._waiting) >= _SEGMENT_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what waits as one segment."""
        waiting, self._waiting = self._waiting, []
        if self._cache is None or not waiting:
            return
        keys = [self._keys[i] for batch, _ in waiting for i in batch]
        lengths = None
        if self._space.layer is None:
            values = np.concatenate([values for _, values in waiting])
        else:
            width = self._space.width
            values = np.concatenate([values.reshape(-1, 1, width) for _, values in waiting])
            lengths = [values.shape[1] for _, values in waiting for _ in range(len(values))]
        if not self._cache.put(self._space, keys, values, lengths):
            self._declined(self._cache)

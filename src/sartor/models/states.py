"""Token states of a frozen layer for many texts: mapped from the cache, not held in memory.

What the cache's bound left out is computed again whenever it is read. A text's numbers depend on
nothing but the text (see `forward`), so the answers are the same to the bit; only time is lost.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from sartor.core.activations import Found
from sartor.models.passes import Halves

Again = Callable[[Sequence[int]], Sequence[Halves]]
"""Numbers of distinct texts to their states, (tokens, width) each."""


class TokenStates:
    """One row a text: (tokens, width), float16, without padding. Close it after use.

    Args:
        found: The distinct texts that are cached, pinned; None where nothing is.
        order: (texts,), the number of each row's distinct text.
        lengths: (distinct texts,), tokens of each.
        again: Computes the states of texts that are not cached.
    """

    def __init__(
        self,
        found: Found | None,
        order: NDArray[np.intp],
        lengths: NDArray[np.int64],
        again: Again,
    ) -> None:
        self._found, self._order, self._lengths, self._again = found, order, lengths, again
        self._cached = np.zeros(len(lengths), np.bool_) if found is None else found.mask

    def __len__(self) -> int:
        return len(self._order)

    def lengths(self) -> NDArray[np.int64]:
        """(texts,), tokens of each, at least 1."""
        return self._lengths[self._order]

    @property
    def cached(self) -> NDArray[np.bool_]:
        """(texts,), whether reading a row computes nothing."""
        return self._cached[self._order]

    def read(self, rows: Sequence[int] | NDArray[np.integer]) -> list[Halves]:
        """The states of some rows, (tokens, width) each; of cached ones a view of the file."""
        wanted = self._order[np.asarray(rows, np.intp)].tolist()
        absent = sorted({i for i in wanted if not self._cached[i]})
        computed = dict(zip(absent, self._again(absent), strict=True)) if absent else {}
        return [computed[i] if i in computed else self._view(i) for i in wanted]

    def _view(self, i: int) -> Halves:
        if self._found is None:
            raise LookupError(f"text {i} is not in the cache")
        return self._found.rows(i)[0]

    def close(self) -> None:
        """Let what is cached be evicted again."""
        if self._found is not None:
            self._found.close()

    def __enter__(self) -> "TokenStates":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

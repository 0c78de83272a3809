"""What a second thread gains a pass, learnt from the passes themselves.

Threads that share a pass wait for one another at the end of every operator. What they gain after
that is up to the processor and the graph: 64 tokens through MiniLM in int8 take as long on two
cores as on one where there is VNNI, and 1.8 times less where there is not.
"""

from threading import Lock

SHORT = 64
"""Tokens of a pass up to which one thread is tried first."""
_TRIED = 4
"""Passes of each kind after which they are compared."""
_AGAIN = 50
"""Passes after which the other kind is tried once more: machines change."""
_SMOOTHING = 0.2
_WORTH = 0.95
"""Of the time on one thread: sharing that gains less is left, since it keeps all cores busy."""


class Gains:
    """Safe to share between threads. Sizes are powers of two of tokens."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._seconds: dict[tuple[bool, int], float] = {}  # a token, by kind and size
        self._counts: dict[tuple[bool, int], int] = {}
        self._asked: dict[int, int] = {}

    def shares(self, tokens: int) -> bool:
        """Whether threads are to share a pass that has all of them for itself.

        Args:
            tokens: Of the pass.
        """
        size = tokens.bit_length()
        with self._lock:
            asked = self._asked[size] = self._asked.get(size, 0) + 1
            if self._counts.get((False, size), 0) < _TRIED:
                return tokens > SHORT
            if self._counts.get((True, size), 0) < _TRIED:
                return True
            gains = self._seconds[True, size] < _WORTH * self._seconds[False, size]
            return gains != (asked % _AGAIN == 0)

    def took(self, shared: bool, tokens: int, seconds: float) -> None:
        """Count a pass that nothing disturbed.

        Args:
            shared: Whether threads shared it.
            tokens: Of the pass.
            seconds: It took.
        """
        kind, found = (shared, tokens.bit_length()), seconds / max(tokens, 1)
        with self._lock:
            before, count = self._seconds.get(kind, found), self._counts.get(kind, 0)
            if count < _TRIED:  # the first passes of a session are slower than all that follow
                self._seconds[kind] = min(before, found)
            else:
                self._seconds[kind] = before + _SMOOTHING * (found - before)
            self._counts[kind] = count + 1

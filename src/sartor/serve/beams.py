"""Beam search: the k best beginnings of each text are kept while it is written.

    score = Σ ln p / tokens^penalty

A beginning that ends is put aside with its score if it was among the k best at that step; the
others go on. A text is done when its best beginning, at its present length, would score below the
worst of k that ended, or at the limit. One beam takes the likeliest token each time. These are the
rules of transformers' `generate` with early_stopping=False, which tests hold, token by token.

Wu et al. 2016, https://arxiv.org/abs/1609.08144, section 7
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sartor.core.protocols import Floats

Ids = NDArray[np.int64]
_NEVER = -1e9


@dataclass(frozen=True, slots=True)
class Ended:
    """A text that was written.

    Args:
        ids: Its tokens, without the one that ended it.
        log_p: Σ ln p of them, and of that one.
        closed: Whether it was ended by the model; else by the limit.
    """

    ids: tuple[int, ...]
    log_p: float
    closed: bool

    @property
    def tokens(self) -> int:
        """The closing one included."""
        return len(self.ids) + self.closed


@dataclass(slots=True)
class Beams:
    """The state of a batch of texts.

    Args:
        rows: Texts.
        count: Beams of each.
        most: Tokens of a text, the closing one included.
        penalty: See the module.
        stop: Tokens that end a text.
        silent: Tokens that are never written, those of `stop` aside.
    """

    rows: int
    count: int
    most: int
    penalty: float
    stop: Sequence[int]
    silent: Sequence[int] = ()
    running: list[list[tuple[int, ...]]] = field(init=False)
    _scores: Floats = field(init=False)
    _best: list[list[tuple[float, Ended]]] = field(init=False)
    _open: list[bool] = field(init=False)
    _length: int = 0

    def __post_init__(self) -> None:
        # Only the first beam counts at first: the others would write the same.
        self._scores = np.full((self.rows, self.count), _NEVER, np.float32)
        self._scores[:, 0] = 0.0
        self.running = [[()] * self.count for _ in range(self.rows)]
        self._best = [[] for _ in range(self.rows)]
        self._open = [True] * self.rows

    @property
    def done(self) -> bool:
        """Whether nothing more is to be written."""
        return self._length >= self.most or not any(self._open)

    def step(self, logits: Floats) -> tuple[Ids, Ids]:
        """Write a token of every beam.

        Args:
            logits: (rows · beams, vocabulary), as the model says after each beginning.

        Returns:
            (rows · beams,) the tokens that were written, and which beam each goes on from.
        """
        log_p = _log_softmax(logits)
        log_p[:, [token for token in self.silent if token not in self.stop]] = -np.inf
        words = log_p.shape[1]
        total = log_p.reshape(self.rows, self.count, words) + self._scores[:, :, None]
        flat = total.reshape(self.rows, -1)
        self._length += 1
        tokens = np.zeros((self.rows, self.count), np.int64)
        parents = np.zeros((self.rows, self.count), np.int64)
        wide = min((1 + max(len(self.stop), 1)) * self.count, flat.shape[1])
        for row in range(self.rows):
            order = _largest(flat[row], wide)
            tokens[row], parents[row] = self._row(row, order, flat[row], words)
        offset = np.arange(self.rows)[:, None] * self.count
        return tokens.reshape(-1), (parents + offset).reshape(-1)

    def ended(self) -> list[Ended]:
        """The best text of each row."""
        return [best[0][1] for best in self._best]

    def _row(self, row: int, order: Ids, scores: Floats, words: int) -> tuple[Ids, Ids]:
        """The beams of one text that go on, best first; those that ended are put aside."""
        last = self._length >= self.most
        going: list[tuple[float, int, int]] = []
        for place, index in enumerate(order.tolist()):
            beam, token = divmod(index, words)
            closed, score = token in self.stop, float(scores[index])
            if (closed or last) and place < self.count:
                self._put_aside(row, beam, token, score)
            going.append((score + _NEVER if closed or last else score, beam, token))
        # Python's sort is stable, as the order among equals must be.
        going.sort(key=lambda each: -each[0])
        kept = going[: self.count]
        self.running[row] = [(*self.running[row][beam], token) for _, beam, token in kept]
        self._scores[row] = [score for score, _, _ in kept]
        self._open[row] = self._open[row] and self._may_improve(row)
        return (
            np.array([token for _, _, token in kept], np.int64),
            np.array([beam for _, beam, _ in kept], np.int64),
        )

    def _put_aside(self, row: int, beam: int, token: int, log_p: float) -> None:
        if not self._open[row]:
            return
        closed = token in self.stop
        ids = self.running[row][beam] if closed else (*self.running[row][beam], token)
        found = Ended(ids, log_p, closed)
        best = self._best[row]
        best.append((log_p / self._length**self.penalty, found))
        best.sort(key=lambda each: -each[0])
        del best[self.count :]

    def _may_improve(self, row: int) -> bool:
        best = self._best[row]
        if len(best) < self.count or self.count == 1:
            return not best or self.count > 1
        return float(self._scores[row, 0]) / self._length**self.penalty > best[-1][0]


def _log_softmax(logits: Floats) -> Floats:
    top = logits.max(1, keepdims=True)
    shifted = logits - top
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def _largest(scores: Floats, count: int) -> Ids:
    """Places of the largest, largest first."""
    some = np.argpartition(-scores, count - 1)[:count]
    return some[np.lexsort((some, -scores[some]))]

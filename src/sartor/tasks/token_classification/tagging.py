"""Tags of pieces, and the sequences of them that are answers.

Outputs are O, then B-X and I-X for each label X. I-X stands behind B-X or I-X and nowhere else, so
of all sequences only those that are entities have a probability:

    p(y | x) = Π_t p_t(y_t) / Z,   Z the sum of the products over the sequences that may be

The best of them is Viterbi's; the probability of an entity is the sum over the sequences that hold
it, by the forward and backward recursions. Rabiner 1989, https://doi.org/10.1109/5.18626
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sartor.core.pieces import pieces
from sartor.core.protocols import Floats
from sartor.core.spans import Span

Doubles = NDArray[np.float64]
Indices = NDArray[np.intp]
OUTSIDE = "O"
_NEVER = -1e9
"""Stands for log 0: sums of it stay finite."""


def tags_of(labels: Sequence[str]) -> list[str]:
    """The outputs of a model that knows these labels."""
    return [OUTSIDE, *(f"{head}-{label}" for label in labels for head in "BI")]


def labels_of(tags: Sequence[str]) -> list[str]:
    """The inverse of `tags_of`."""
    return [tag[2:] for tag in tags if tag.startswith("B-")]


def tagged(text: str, spans: Sequence[Span], index: dict[str, int]) -> list[int]:
    """The tag of each piece of a text.

    Args:
        text: Read.
        spans: In order; each begins and ends where pieces do.
        index: Tag to its place among the outputs.

    Raises:
        KeyError: If a label has no tags.
    """
    found: list[int] = []
    left = list(reversed(spans))
    for start, _ in pieces(text):
        while left and left[-1].end <= start:
            left.pop()
        if left and left[-1].start <= start:
            head = "B" if start == left[-1].start else "I"
            found.append(index[f"{head}-{left[-1].label}"])
        else:
            found.append(index[OUTSIDE])
    return found


def log_shares(logits: Floats, temperature: float, outside: float) -> Doubles:
    """(rows, pieces, outputs) log-probabilities of each piece's tags by itself.

    A piece that was not read, whose logits are all 0, is outside.

    Args:
        logits: (rows, pieces, outputs).
        temperature: They are divided by it.
        outside: Is added to O's.
    """
    z = np.asarray(logits, np.float64)
    unread = ~z.any(2)
    z = z / temperature
    z[..., 0] += outside
    z -= z.max(2, keepdims=True)
    z -= np.log(np.exp(z).sum(2, keepdims=True))
    z[unread] = _NEVER
    z[unread, 0] = 0.0
    return np.maximum(z, _NEVER)


def read_columns(logits: Floats) -> Indices:
    """Pieces that some row has read, and after each stretch of them one that none has: there all
    are outside, so what lies beyond has no say, however long it is.

    Args:
        logits: (rows, pieces, outputs), 0 where nothing was read.
    """
    read = np.flatnonzero(logits.any((0, 2)))
    return np.union1d(read, (read + 1)[read + 1 < logits.shape[1]])


def best_tags(shares: Doubles) -> Indices:
    """(rows, pieces) the likeliest sequence of each row that is an answer; of equals, the first.

    Args:
        shares: From `log_shares`.
    """
    rows, length, outputs = shares.shape
    back = np.zeros((length, rows, outputs), np.intp)
    each = np.arange(rows)
    value = np.full((rows, outputs), _NEVER)
    value[:, 0] = 0.0  # before the first piece nothing is open
    begins, inside = np.arange(1, outputs, 2), np.arange(2, outputs, 2)
    for at in range(length):
        before = value.argmax(1)
        top = value[each, before]
        opened, running = value[:, begins], value[:, inside]
        first = opened >= running
        back[at] = before[:, None]
        back[at][:, inside] = np.where(first, begins, inside)
        value = shares[:, at] + top[:, None]
        value[:, inside] = shares[:, at][:, inside] + np.where(first, opened, running)
    found = np.zeros((rows, length), np.intp)
    now = value.argmax(1)
    for at in range(length - 1, -1, -1):
        found[:, at] = now
        now = back[at][each, now]
    return found


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums over all sequences that are answers, as logarithms.

    Args:
        shares: (rows, pieces, outputs), from `log_shares`.
        upto: (rows, pieces + 1) of what stands before each piece, and of all.
        after: (rows, pieces + 1) of what stands from each piece on, where no entity is open.
    """

    shares: Doubles
    upto: Doubles
    after: Doubles

    @staticmethod
    def of(shares: Doubles) -> "Sums":
        rows, length, outputs = shares.shape
        begins, inside = np.arange(1, outputs, 2), np.arange(2, outputs, 2)
        free = np.concatenate([[0], begins])
        upto, after = np.zeros((rows, length + 1)), np.zeros((rows, length + 1))
        open_ = np.full((rows, len(begins)), _NEVER)
        for at in range(length):
            now = shares[:, at] + upto[:, at, None]
            held = shares[:, at][:, inside] + open_
            open_ = np.logaddexp(now[:, begins], held)
            upto[:, at + 1] = _log_sum(np.hstack([now[:, free], held]))
        # What follows a piece in which an entity of each label is open.
        following = np.zeros((rows, len(begins)))
        for at in range(length - 1, -1, -1):
            here = shares[:, at]
            still = here[:, inside] + following
            behind = np.hstack([after[:, at + 1, None], following])
            after[:, at] = _log_sum(here[:, free] + behind)
            following = np.logaddexp(after[:, at, None], still)
        return Sums(shares, upto, after)

    def of_entity(self, row: int, first: int, end: int, label: int) -> float:
        """Probability that an entity of a label stands from piece `first` to before `end`."""
        shares = self.shares[row]
        inside = shares[first + 1 : end, 2 + 2 * label].sum()
        total = self.upto[row, first] + shares[first, 1 + 2 * label] + inside + self.after[row, end]
        return float(np.exp(min(total - self.upto[row, -1], 0.0)))

    def of_tags(self, tags: Indices) -> Doubles:
        """(rows,) probability of a whole sequence."""
        chosen = np.take_along_axis(self.shares, tags[..., None], 2)[..., 0].sum(1)
        return np.exp(np.minimum(chosen - self.upto[:, -1], 0.0))


def _log_sum(values: Doubles) -> Doubles:
    top = values.max(1)
    return top + np.log(np.exp(values - top[:, None]).sum(1))


def entities(tags: Sequence[int]) -> list[tuple[int, int, int]]:
    """(first piece, piece behind the last, label) of a sequence that is an answer."""
    found: list[tuple[int, int, int]] = []
    for at, tag in enumerate(tags):
        if tag == 0:
            continue
        if tag % 2:
            found.append((at, at + 1, tag // 2))
        else:
            first, _, label = found[-1]
            found[-1] = first, at + 1, label
    return found

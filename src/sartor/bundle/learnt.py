"""Which rows a bundle learnt from, so that nobody judges it on them by mistake.

8 bytes a training or validation row: the start of a hash of its normalised inputs, sorted. Equal
inputs are found again, nearly equal ones are not. Who holds the bundle can test a guess ("was this
text among them?"), as with the model itself, but cannot read a text.

Rows that only chose (settings, the decision rule) are told apart from those that the weights were
fitted on: where the same rows choose again, a score on them is as good as any candidate's.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from sartor.core.errors import BundleError
from sartor.core.hashing import mark

MOST = 100_000
"""Rows that are kept: 0.8 MB. Of more, those with the smallest hashes, which is a fair sample."""
_FORM = np.dtype("<i8")


@dataclass(frozen=True, slots=True)
class Learnt:
    """Rows that a bundle learnt from.

    Args:
        marks: From `hashing.mark` of the rows' ids.
        whole: Whether they are all; otherwise a sample.
        chose: Those of `marks` that chose, and that nothing was fitted on.
    """

    marks: frozenset[int]
    whole: bool = True
    chose: frozenset[int] = frozenset()

    @staticmethod
    def of(fitted: Iterable[str], chose: Iterable[str] = ()) -> "Learnt":
        """Of the ids of rows that were fitted on, and of rows that chose."""
        return Learnt(frozenset(map(mark, fitted))).choosing(chose)

    def choosing(self, ids: Iterable[str]) -> "Learnt":
        """With further rows that chose."""
        marks = frozenset(map(mark, ids))
        return Learnt(self.marks | marks, self.whole, self.chose | (marks - self.marks))

    def fresh(self, ids: Sequence[str]) -> list[int]:
        """Indices of the rows that are not known to be among them."""
        return [row for row, name in enumerate(ids) if mark(name) not in self.marks]

    def unfitted(self, ids: Sequence[str]) -> list[int]:
        """Indices of the rows that it is not known to be fitted on."""
        fitted = self.marks - self.chose
        return [row for row, name in enumerate(ids) if mark(name) not in fitted]


def pack(marks: Iterable[int]) -> bytes:
    """The content of the file for these rows, the same in whatever order they come."""
    return np.array(sorted(set(marks))[:MOST], _FORM).tobytes()


def unpack(learnt: bytes, chose: bytes, place: str) -> Learnt:
    """
    Args:
        learnt: All rows, as `pack` wrote them.
        chose: Those of them that only chose.
        place: For the message.

    Raises:
        BundleError: If one is longer than any that is written, or has half a row.
    """
    marks = _rows(learnt, place)
    return Learnt(marks, len(marks) < MOST, _rows(chose, place))


def _rows(data: bytes, place: str) -> frozenset[int]:
    if len(data) % _FORM.itemsize or len(data) > MOST * _FORM.itemsize:
        raise BundleError(
            f"{place} has {len(data):,} bytes: it is no list of at most {MOST:,} rows.",
            fix="build the bundle again with `sartor run`.",
        )
    return frozenset(np.frombuffer(data, _FORM).tolist())

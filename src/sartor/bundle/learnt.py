"""Which rows a bundle learnt from, so that nobody judges it on them by mistake.

8 bytes a training or validation row: the start of a hash of its normalised inputs, sorted. Equal
inputs are found again, nearly equal ones are not. Who holds the bundle can test a guess ("was this
text among them?"), as with the model itself, but cannot read a text.
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
    """

    marks: frozenset[int]
    whole: bool

    def fresh(self, ids: Sequence[str]) -> list[int]:
        """Indices of the rows that are not known to be among them."""
        return [row for row, name in enumerate(ids) if mark(name) not in self.marks]


def pack(ids: Iterable[str]) -> bytes:
    """The content of the file for these rows, the same in whatever order they come."""
    return np.array(sorted({mark(name) for name in ids})[:MOST], _FORM).tobytes()


def unpack(data: bytes, place: str) -> Learnt:
    """
    Raises:
        BundleError: If it is longer than any that is written, or has half a row.
    """
    if len(data) % _FORM.itemsize or len(data) > MOST * _FORM.itemsize:
        raise BundleError(
            f"{place} has {len(data):,} bytes: it is no list of at most {MOST:,} rows.",
            fix="build the bundle again with `sartor run`.",
        )
    marks = np.frombuffer(data, _FORM)
    return Learnt(frozenset(marks.tolist()), whole=len(marks) < MOST)

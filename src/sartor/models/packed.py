"""Texts as token ids, end to end in one array: four bytes a token, however many texts.

A tokenizer's own answers take a hundred bytes a token and a Python list of ids thirty-six, so they
are made for a few texts at a time and packed at once.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import NDArray

from sartor.core.texts import Text, each_part

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Ids = NDArray[np.int32]
_WINDOW = 1024
"""Texts tokenised at a time: enough for all threads, and at 256 tokens each some 30 MB."""


class Packed(Sequence[Ids]):
    """Rows of token ids, without padding; a row is a view.

    Args:
        flat: (tokens,) the ids of all rows, one row after the other.
        lengths: (rows,) tokens of each.
    """

    def __init__(self, flat: Ids, lengths: NDArray[np.int64]) -> None:
        self.flat, self.lengths = flat, lengths
        self._bounds = np.concatenate([[0], np.cumsum(lengths)])

    @staticmethod
    def of(rows: Iterable[Sequence[int] | Ids]) -> "Packed":
        """Pack rows as they come."""
        parts = [np.asarray(row, np.int32) for row in rows]
        return Packed._joined(parts, [len(part) for part in parts])

    @staticmethod
    def _joined(parts: Sequence[Ids], lengths: Sequence[int]) -> "Packed":
        flat = np.concatenate(parts) if parts else np.zeros(0, np.int32)
        return Packed(flat, np.asarray(lengths, np.int64))

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, index: int) -> Ids: ...
    @overload
    def __getitem__(self, index: slice) -> "Packed": ...
    def __getitem__(self, index: int | slice) -> "Ids | Packed":
        if isinstance(index, slice):
            return Packed.of(self[i] for i in range(*index.indices(len(self))))
        row = range(len(self))[index]
        return self.flat[self._bounds[row] : self._bounds[row + 1]]

    def __iter__(self) -> Iterator[Ids]:
        return (self[i] for i in range(len(self)))


def tokenise(tokenizer: "Tokenizer", texts: Sequence[Text], prefix: str = "") -> Packed:
    """Token ids of texts, cut and without padding as the tokenizer is set.

    Args:
        tokenizer: Its padding is off.
        texts: Lone surrogates in them are read as "?". Two texts become one sequence, and where
            that is too long, tokens go from the end of the longer one first.
        prefix: Put before every text.
    """
    parts: list[Ids] = []
    lengths: list[int] = []
    for start in range(0, len(texts), _WINDOW):
        window = [
            each_part(text, lambda part: printable(prefix + part))
            for text in texts[start : start + _WINDOW]
        ]
        rows = [encoding.ids for encoding in tokenizer.encode_batch_fast(window)]
        lengths += map(len, rows)
        parts.append(np.fromiter(chain.from_iterable(rows), np.int32, sum(map(len, rows))))
    return Packed._joined(parts, lengths)


def printable(text: str) -> str:
    """The text with lone surrogates replaced: they have no UTF-8, and the tokenizer reads UTF-8."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()

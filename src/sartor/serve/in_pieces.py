# The tokenizers library's methods are partly untyped; this file is the border.
"""Texts whose pieces are answered about: token ids, and which token each piece is read at.

A text that is longer than the model takes is read in windows that overlap, where the bundle says
so; a piece is answered from the window in which most stands around it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
from tokenizers import Tokenizer

from sartor.bundle import Windows
from sartor.core.pieces import Place, pieces, read_at
from sartor.core.protocols import Floats
from sartor.core.texts import Text, length_of, parts_of
from sartor.serve.reading import Reader, window_starts

_CELLS = 65_536


def portions(texts: Sequence[Text]) -> list[list[int]]:
    """Rows to be answered at a time: of about one length, so that a long text does not make an
    array of short ones as wide as itself."""
    found: list[list[int]] = []
    lengths = [length_of(text) for text in texts]
    for row in sorted(range(len(texts)), key=lengths.__getitem__):
        if not found or (len(found[-1]) + 1) * lengths[row] > _CELLS:
            found.append([])
        found[-1].append(row)
    return found


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a text that the model reads as one sequence.

    Args:
        row: Of the text.
        first: Its first piece, of those of the text.
        ids: Token ids.
        marks: How many pieces are read at each token.
        begun: Whether the text begins before it.
        goes_on: Whether the text goes on behind it.
    """

    row: int
    first: int
    ids: Sequence[int]
    marks: Sequence[int]
    begun: bool = False
    goes_on: bool = False

    @property
    def read(self) -> int:
        """Pieces that it answers about."""
        return sum(self.marks)

    @property
    def content(self) -> bytes:
        """What the model reads of it."""
        return np.array([self.ids, self.marks], np.int64).tobytes()

    def around(self, piece: int) -> float:
        """Pieces between one of the text and the nearer end of the stretch; infinite where the
        text ends there too."""
        before = piece - self.first if self.begun else inf
        behind = self.first + self.read - 1 - piece if self.goes_on else inf
        return min(before, behind)


def stretches(reader: Reader, texts: Sequence[Text]) -> list[Stretch]:
    """What the model reads of texts, one after the other."""
    whole = ["".join(parts_of(text)) for text in texts]
    encoded = reader.tokenizer.encode_batch([reader.prefix + text for text in whole])
    found: list[Stretch] = []
    for row, (text, one) in enumerate(zip(whole, encoded, strict=True)):
        places = pieces(text)
        if one.overflowing and reader.whole is not None and reader.windows is not None:
            found += _windows(reader, (row, text, places), reader.whole, reader.windows)
        else:
            marks = read_at(one.offsets, places, len(reader.prefix))
            found.append(Stretch(row, 0, one.ids, marks))
    return found


def _windows(
    reader: Reader, of: tuple[int, str, list[Place]], whole: Tokenizer, windows: Windows
) -> list[Stretch]:
    row, text, places = of
    marks = read_at(whole.encode(text, add_special_tokens=False).offsets, places)
    token_of = np.repeat(np.arange(len(marks)), marks)
    found: list[Stretch] = []
    for start in window_starts(len(marks), reader.room, windows):
        inside = np.flatnonzero((token_of >= start) & (token_of < start + reader.room))
        if not len(inside):
            continue
        first, last = int(inside[0]), int(inside[-1])
        cut = text[places[first][0] : places[last][1]]
        one = reader.tokenizer.encode(reader.prefix + cut)
        read = read_at(one.offsets, pieces(cut), len(reader.prefix))
        found.append(Stretch(row, first, one.ids, read, first > 0, last + 1 < len(places)))
    return found


def joined(parts: Sequence[Stretch], logits: Sequence[Floats], rows: int) -> Floats:
    """(texts, most pieces read, outputs), 0 where a text has no piece or it was not read.

    Args:
        parts: From `stretches`.
        logits: (pieces read, outputs) of each.
        rows: Number of texts, at least 1.
    """
    # What was not read at the end of a text takes no room.
    width = max((part.first + part.read for part in parts), default=0)
    result = np.zeros((rows, width, logits[0].shape[1]), np.float32)
    best: dict[tuple[int, int], float] = {}
    for part, found in zip(parts, logits, strict=True):
        if not (part.begun or part.goes_on):
            result[part.row, : len(found)] = found
            continue
        for at, values in enumerate(found):
            place = part.row, part.first + at
            if part.around(place[1]) > best.get(place, -1.0):
                best[place] = part.around(place[1])
                result[place] = values
    return result

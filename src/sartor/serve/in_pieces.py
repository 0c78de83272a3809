# The tokenizers library's methods are partly untyped; this file is the border.
"""Texts whose pieces are answered about: token ids, and which token each piece is read at.

A text that is longer than the model takes is read in windows that overlap, where the bundle says
so (`core.windows`). Of a question and a context the pieces are the context's, and the first token
of the sequence is read for "none of them".
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from sartor.bundle import Windows
from sartor.core.pieces import Place, pieces, read_at
from sartor.core.texts import Text, length_of, parts_of
from sartor.core.windows import Room, Window, piece_windows, read_of_two
from sartor.serve.reading import Reader

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
        marks: How many pieces are read at each token; of a question and a context also `LEAD`.
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


def stretches(reader: Reader, texts: Sequence[Text]) -> list[Stretch]:
    """What the model reads of texts, one after the other."""
    if texts and isinstance(texts[0], tuple):
        return _of_questions(reader, texts)
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
    offsets = whole.encode(text, add_special_tokens=False).offsets
    found: list[Stretch] = []
    for first, end in piece_windows(offsets, places, reader.room, windows.stride, windows.most):
        cut = text[places[first][0] : places[end - 1][1]]
        one = reader.tokenizer.encode(reader.prefix + cut)
        read = read_at(one.offsets, pieces(cut), len(reader.prefix))
        found.append(Stretch(row, first, one.ids, read, first > 0, end < len(places)))
    return found


def _of_questions(reader: Reader, rows: Sequence[Text]) -> list[Stretch]:
    prefix = reader.prefix
    windows = [
        window for row, text in enumerate(rows) for window in _of_question(reader, row, text)
    ]
    given = [(prefix + question, prefix + part) for question, part in (w.texts for w in windows)]
    encoded = reader.tokenizer.encode_batch(given)
    return [
        Stretch(
            window.row,
            window.first,
            one.ids,
            read_of_two(one.offsets, one.sequence_ids, pieces(window.texts[1]), len(prefix)),
            window.begun,
            window.goes_on,
        )
        for window, one in zip(windows, encoded, strict=True)
    ]


def _of_question(reader: Reader, row: int, text: Text) -> list[Window]:
    question, context = parts_of(text)
    whole, windows = reader.whole, reader.windows
    if whole is None or windows is None:
        return [Window(row, 0, 0, 0, (question, context))]
    room = Room(
        lambda part: whole.encode(part, add_special_tokens=False).offsets,
        reader.room_of_two,
        windows.stride,
        windows.most,
    )
    return room.windows(row, question, context)

"""A text that is longer than a model reads, in windows that overlap, and their answers as one.

Windows are spread evenly from the first token to the last; where a text would need more than the
most, there are gaps between them. They are cut from the text at its pieces (`core.pieces`), so that
the tokenizer puts around each what it puts around any text. A piece is answered from the window in
which most stands around it.

Where a row is a question and a context, each window holds the question and a part of the context.
Before the pieces' places there is then one for "none of them" (`LEAD`), which every window answers:
the row has that of the window that is least sure of it, since an answer in one window is enough
(Devlin et al. 2019, https://aclanthology.org/N19-1423, as its successors read SQuAD 2.0).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Protocol

import numpy as np

from sartor.core.pieces import Place, pieces, read_at
from sartor.core.protocols import Floats

MOST = 8
"""Windows of one text, at most: eight of 256 tokens that overlap by a quarter read 1,600 tokens."""
MOST_OF_CONTEXT = 32
"""Windows of one context, at most: at 256 tokens, with a short question, some 5,500 tokens."""
LEAD = 1
"""Places before those of the pieces, where a row is a question and a context."""
_CONTEXT = 0.5
"""Share of the room that a context has at least: a longer question is cut."""
_STRIDE = 0.75
"""Share of a window that the next one begins behind, at most: the rest overlaps."""


def stride_of(length: int) -> int:
    """Tokens from one window to the next, for a model that reads so many."""
    return max(1, int(length * _STRIDE))


def window_starts(tokens: int, room: int, stride: int, most: int) -> list[int]:
    """Where windows of `room` tokens begin in a text of `tokens`: evenly from first to last.

    Args:
        tokens: Of the text.
        room: Of a window.
        stride: From one to the next, at most; but where `most` does not reach.
        most: Windows.
    """
    beyond = tokens - room
    if beyond <= 0:
        return [0]
    count = min(most, math.ceil(beyond / min(stride, room)) + 1)
    return [round(index * beyond / (count - 1)) for index in range(count)]


def piece_windows(
    offsets: Sequence[Place], places: Sequence[Place], room: int, stride: int, most: int
) -> list[tuple[int, int]]:
    """(first piece, piece behind the last) of each window of a text.

    Args:
        offsets: Of the text's tokens, without special ones.
        places: Of its pieces.
        room: As of `window_starts`, as for the others.
        stride: As of `window_starts`.
        most: As of `window_starts`.
    """
    marks = read_at(offsets, places)
    token_of = np.repeat(np.arange(len(marks)), marks)
    found: list[tuple[int, int]] = []
    for start in window_starts(len(marks), room, stride, most):
        inside = np.flatnonzero((token_of >= start) & (token_of < start + room))
        if len(inside):
            found.append((int(inside[0]), int(inside[-1]) + 1))
    return found


def read_of_two(
    offsets: Sequence[Place], sides: Sequence[int | None], places: Sequence[Place], shift: int = 0
) -> list[int]:
    """As `read_at`, of the second of two texts in one sequence; the first token is read for `LEAD`.

    Args:
        offsets: Of the tokens, each in its own text.
        sides: Of the tokens: 1 for one of the second text.
        places: Of the second text's pieces.
        shift: Code points of what stands before the second text.
    """
    of_it = [at if side == 1 else (0, 0) for at, side in zip(offsets, sides, strict=True)]
    found = read_at(of_it, places, shift)
    if found:
        found[0] += LEAD
    return found


class Placed(Protocol):
    """Where a window lies in the row that it is of."""

    @property
    def row(self) -> int:
        """Of the row."""
        ...

    @property
    def first(self) -> int:
        """Its first piece, of those of the row."""
        ...

    @property
    def begun(self) -> bool:
        """Whether the text begins before it."""
        ...

    @property
    def goes_on(self) -> bool:
        """Whether the text goes on behind it."""
        ...


def joined(parts: Sequence[Placed], logits: Sequence[Floats], rows: int, lead: int = 0) -> Floats:
    """(rows, lead + most pieces read, outputs), 0 where a row has no piece or it was not read.

    Args:
        parts: Of all rows.
        logits: (lead + pieces read, outputs) of each.
        rows: Number of rows, at least 1.
        lead: Places before the pieces': 0 or `LEAD`.
    """
    # What was not read at the end of a text takes no room.
    width = max(part.first + len(found) for part, found in zip(parts, logits, strict=True))
    result = np.zeros((rows, width, logits[0].shape[1]), np.float32)
    best: dict[tuple[int, int], float] = {}
    none = np.full(rows, inf)
    for part, found in zip(parts, logits, strict=True):
        if lead and len(found) and found[0].sum() < none[part.row]:
            none[part.row], result[part.row, 0] = float(found[0].sum()), found[0]
        values, start = found[lead:], lead + part.first
        if not (part.begun or part.goes_on):
            result[part.row, start : start + len(values)] = values
            continue
        for at, one in enumerate(values):
            place, near = (part.row, start + at), around(part, at, len(values))
            if near > best.get(place, -1.0):
                best[place] = near
                result[place] = one
    return result


def around(part: Placed, at: int, read: int) -> float:
    """Pieces between one of a window and its nearer end; infinite where the text ends there too.

    Args:
        part: The window.
        at: The piece, of those of the window.
        read: Pieces of the window.
    """
    return min(at if part.begun else inf, read - 1 - at if part.goes_on else inf)


@dataclass(frozen=True, slots=True)
class Window:
    """A question and a part of its context; `Placed`.

    Args:
        row: Of the question.
        first: The part's first piece, of those of the context.
        count: Pieces of the part.
        start: Code points of the context before the part.
        texts: The question and the part, as the model reads them.
        begun: Whether the context begins before it.
        goes_on: Whether the context goes on behind it.
    """

    row: int
    first: int
    count: int
    start: int
    texts: tuple[str, str]
    begun: bool = False
    goes_on: bool = False


@dataclass(frozen=True, slots=True)
class Room:
    """How much a model reads of a question and a context.

    Args:
        offsets: A text to where its tokens lie, without special ones.
        tokens: Of both together, without special ones.
        stride: As of `window_starts`.
        most: As of `window_starts`.
    """

    offsets: Callable[[str], Sequence[Place]]
    tokens: int
    stride: int
    most: int

    def windows(self, row: int, question: str, context: str) -> list[Window]:
        """The windows of one row, at least one."""
        question, taken = self._question(question)
        room, places = max(1, self.tokens - taken), pieces(context)
        offsets = self.offsets(context)
        # The question takes its part of the stride too, so that windows always overlap.
        stride = min(self.stride, max(1, int(room * _STRIDE)))
        found = piece_windows(offsets, places, room, stride, self.most)
        if len(offsets) <= room or not found:
            return [Window(row, 0, len(places), 0, (question, context))]
        return [
            Window(
                row=row,
                first=first,
                count=end - first,
                start=places[first][0],
                texts=(question, context[places[first][0] : places[end - 1][1]]),
                begun=first > 0,
                goes_on=end < len(places),
            )
            for first, end in found
        ]

    def _question(self, question: str) -> tuple[str, int]:
        """The question, cut where it would leave the context too little; and its tokens."""
        offsets, most = self.offsets(question), max(1, int(self.tokens * (1 - _CONTEXT)))
        if len(offsets) <= most:
            return question, len(offsets)
        return question[: offsets[most - 1][1]], most

"""A text in pieces: what a label of a part of a text can begin and end at.

    iPhone15在北京, OK   →   iPhone · 15 · 在 · 北 · 京 · , · OK

A run of letters is a piece, and a run of digits; a character of a script that writes words without
spaces between them (Han, Kana, Hangul, Bopomofo) is one by itself, and so is each mark of
punctuation. Combining marks, joiners and skin tones stay with what they stand on: no piece cuts a
character that a reader sees as one. Spaces are in no piece.

The pieces depend on nothing but the text, so models with different tokenizers, and the rows that
they are judged on, agree on what is labelled.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

ALONE = (
    "\u3005-\u3007\u3040-\u30ff\u3100-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7a3\uf900-\ufaff\uff66-\uff9d\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)
"""Characters that are a piece each, as a regular expression's class has them."""
_PIECE = re.compile(rf"[{ALONE}]|\d+|(?:(?![{ALONE}])[^\W\d_])+|[\U0001f1e6-\U0001f1ff]{{2}}|\S")
_JOINERS = "\u200d\uff9e\uff9f"
"""A joiner of emoji, and the marks that halfwidth Kana take."""
_TONES = ("\U0001f3fb", "\U0001f3ff")

Place = tuple[int, int]
"""Where a piece begins and where it has ended, in code points."""


def pieces(text: str) -> list[Place]:
    """The pieces of a text, in order; they do not overlap."""
    found = [match.span() for match in _PIECE.finditer(text)]
    # Few texts have a character that stays with another: most need not be looked at piece by piece.
    return _whole(text, found) if any(map(_stays, set(text))) else found


def cut_piece(start: int, end: int, places: Sequence[Place]) -> Place | None:
    """The first piece that a part of a text cuts in two; None where it holds whole ones.

    Args:
        start: Of the part, in code points.
        end: Behind it.
        places: Of the text's pieces.
    """
    cut = ((a, b) for a, b in places if a < start < b or a < end < b)
    return next(cut, None)


def read_at(offsets: Sequence[Place], places: Sequence[Place], shift: int = 0) -> list[int]:
    """For each token how many pieces are read at it: 0 or 1, and more where one token holds many.

    Pieces behind the last token are read nowhere.

    Args:
        offsets: Of the tokens, in code points; (0, 0) of one that stands for no text.
        places: Of the pieces.
        shift: Code points of what stands before the text.
    """
    found, at = [0] * len(offsets), 0
    for token, (start, end) in enumerate(offsets):
        if end <= start:
            continue
        while at < len(places) and places[at][0] + shift < end:
            found[token] += 1
            at += 1
    return found


@lru_cache(maxsize=8_192)
def _stays(character: str) -> bool:
    """Whether a character may belong to the one before it, or the next one to it."""
    toned = _TONES[0] <= character <= _TONES[1]
    return toned or character in _JOINERS or unicodedata.category(character).startswith("M")


def _whole(text: str, found: list[Place]) -> list[Place]:
    """The same, where what a reader sees as one character lies in one piece."""
    kept: list[Place] = []
    for start, end in found:
        if kept and kept[-1][1] == start and _goes_on(text, kept[-1][1], text[start]):
            kept[-1] = kept[-1][0], end
        else:
            kept.append((start, end))
    return kept


def _goes_on(text: str, at: int, here: str) -> bool:
    """Whether the character at `at` belongs to the one before it."""
    before = text[at - 1]
    if here in _JOINERS or before == _JOINERS[0] or _TONES[0] <= here <= _TONES[1]:
        return True
    if not here.isalnum():
        return unicodedata.category(here).startswith("M")
    # A word goes on behind a vowel sign that stands in it.
    return here.isalpha() and not _alone(here) and unicodedata.category(before).startswith("M")


def _alone(character: str) -> bool:
    return re.match(f"[{ALONE}]", character) is not None

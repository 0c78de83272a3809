"""Replies that a model writes, and how much of a right one is in them.

Between stages a reply travels as a row of numbers, as every model's output does:

    mean ln p of its tokens · tokens · whether it ended by itself
    · ln p of the right reply · its tokens, 0 where nobody asked
    · its characters' code points · −1 …

A code point is below 2²¹, so float32 holds it exactly, and neither who keeps the row nor who reads
it back needs the tokenizer.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

HEAD = 5
"""Numbers before the code points."""
_TOP = 0x110000
_WORD = re.compile(r"[\u3400-\u9fff\u3040-\u30ff\uac00-\ud7af]|[^\W_]+")
_MOST_WORDS = 2_000


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer of a task whose answers are written; a type of its own, since no label."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Said:
    """What a model wrote.

    Args:
        text: Without control tokens.
        log_p: Mean natural logarithm of its tokens' probabilities, the closing one included.
        tokens: That were written, the closing one included.
        ended: Whether the model ended it; else it was cut.
        right_log_p: Natural logarithm of the probability that the model gives to the right reply,
            its closing token included.
        right_tokens: Tokens of that, the closing one included; 0 where nobody asked.
    """

    text: str
    log_p: float
    tokens: int
    ended: bool
    right_log_p: float = 0.0
    right_tokens: int = 0


def as_numbers(said: Sequence[Said]) -> NDArray[np.float32]:
    """(replies, 5 + characters of the longest); see the module."""
    longest = max((len(each.text) for each in said), default=0)
    found = np.full((len(said), HEAD + longest), -1.0, np.float32)
    for row, each in zip(found, said, strict=True):
        row[:HEAD] = _head(each)
        row[HEAD : HEAD + len(each.text)] = [ord(letter) for letter in each.text]
    return found


def as_said(row: NDArray[Any]) -> Said | None:
    """The inverse of `as_numbers`, for one row; None where it is no reply.

    Args:
        row: (5 + characters,) or longer, −1 behind the last character.
    """
    if not np.isfinite(row).all() or len(row) < HEAD:
        return None
    points = [int(point) for point in row[HEAD:] if point >= 0]
    if any(point >= _TOP or 0xD800 <= point < 0xE000 for point in points):
        return None
    text = "".join(map(chr, points))
    log_p, tokens, ended, right, of = (float(number) for number in row[:HEAD])
    return Said(text, log_p, int(tokens), ended > 0, right, int(of))


def _head(said: Said) -> tuple[float, ...]:
    return said.log_p, said.tokens, said.ended, said.right_log_p, said.right_tokens


def words_of(text: str) -> tuple[str, ...]:
    """Words in lower case; each Chinese, Japanese or Korean character is one."""
    return tuple(_WORD.findall(text.casefold()))[:_MOST_WORDS]


def plainly(text: str) -> str:
    """A text without what does not count in a comparison: case, and spaces of any kind."""
    return " ".join(text.casefold().split())


@lru_cache(maxsize=16_384)
def rouge_l(reply: str, right: str) -> float:
    """ROUGE-L: F1 of the longest common subsequence of words, 0 to 1.

    With L words in common, in order: precision L / words of the reply, recall L / words of the
    right one. Two texts without words are alike. Lin 2004, https://aclanthology.org/W04-1013

    Args:
        reply: What was written.
        right: What was to be written.
    """
    one, other = words_of(reply), words_of(right)
    if not one or not other:
        return float(plainly(reply) == plainly(right))
    shared = _common(one, other)
    return 2 * shared / (len(one) + len(other))


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the longest common subsequence, in bits: Crochemore et al. 2001."""
    places: dict[str, int] = {}
    for place, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << place
    whole = (1 << len(one)) - 1
    row = whole
    for word in other:
        matched = row & places.get(word, 0)
        row = ((row + matched) | (row - matched)) & whole
    return len(one) - row.bit_count()


def sureness(said: Said) -> float:
    """Geometric mean of the probabilities of its tokens, 0 to 1."""
    return math.exp(min(said.log_p, 0.0))

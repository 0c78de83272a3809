"""How like a right answer a given one is, as the field counts it: exact match and F1.

English and its kin, as SQuAD's evaluation: case, punctuation and articles do not count, and F1 is
that of the words in common, however often each stands in both.
Rajpurkar et al. 2016, https://aclanthology.org/D16-1264

Where the right answer has Chinese characters, as CMRC 2018's: each of them is a word of its own,
case and its list of punctuation do not count, and F1 is that of the longest run in common.
Cui et al. 2019, https://aclanthology.org/D19-1600

Of several right answers the most like counts. Where none is right, none must be given.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_MARKS = str.maketrans("", "", string.punctuation)
_HAN = re.compile("[\u4e00-\u9fa5]")
_CMRC = frozenset("-:_*^/\\~`+=，。：？！“”；’《》…·、「」（）－～『』")
_WORD = re.compile(r"\w+|[^\w\s]")


def exact_match(said: str, right: Sequence[str]) -> bool:
    """Whether an answer is one of the right ones, but for what does not count.

    Args:
        said: Empty where none was given.
        right: Empty where the text does not answer.
    """
    return bool(said) == bool(right) and (not right or any(_plain(said, r) for r in right))


def f1(said: str, right: Sequence[str]) -> float:
    """F1 of the words in common with the right answer that is most like, 0 to 1.

    Args:
        said: Empty where none was given.
        right: Empty where the text does not answer.
    """
    if not said or not right:
        return float(bool(said) == bool(right))
    return max(_overlap(said, one) for one in right)


def _plain(said: str, right: str) -> bool:
    if _HAN.search(right):
        return _without_marks(said) == _without_marks(right)
    return _normalised(said) == _normalised(right)


@lru_cache(maxsize=16_384)
def _overlap(said: str, right: str) -> float:
    if _HAN.search(right):
        one, other = _segments(said), _segments(right)
        shared = _longest_run(one, other)
    else:
        one, other = _normalised(said).split(), _normalised(right).split()
        shared = sum((Counter(one) & Counter(other)).values())
    if not one or not other:  # nothing is left of either, as of "the"
        return float(one == other)
    return 2 * shared / (len(one) + len(other))


def _normalised(text: str) -> str:
    """Lower case, without punctuation, articles and extra spaces: SQuAD's `normalize_answer`."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_MARKS)).split())


def _without_marks(text: str) -> str:
    return "".join(letter for letter in text.lower().strip() if letter not in _CMRC)


def _segments(text: str) -> list[str]:
    """Chinese characters one by one, and what stands between them by its words."""
    found: list[str] = []
    between = ""
    for letter in _without_marks(text):
        if _HAN.match(letter):
            found += [*_WORD.findall(between), letter]
            between = ""
        else:
            between += letter
    return found + _WORD.findall(between)


def _longest_run(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the longest run of segments that stands in both."""
    best, row = 0, [0] * (len(other) + 1)
    for mine in one:
        last = row
        row = [0, *(last[at] + 1 if mine == theirs else 0 for at, theirs in enumerate(other))]
        best = max(best, *row)
    return best

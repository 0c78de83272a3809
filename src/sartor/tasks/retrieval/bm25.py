"""BM25: documents by the words that they share with a text. The honest baseline of any search.

score(d) = Σ_t idf_t · f(t, d) · (k + 1) / (f(t, d) + k · (1 − b + b · |d| / mean |d|))
idf_t    = ln(1 + (N − n_t + 0.5) / (n_t + 0.5)),   t over the text's terms

Robertson and Zaragoza 2009, doi:10.1561/1500000019. Terms are words in lower case; of Chinese and
Japanese, which write no spaces, every two neighbouring characters, and each alone.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_K, _B = 1.2, 0.75
_WORDS = re.compile(r"[\u2e80-\ud7ff\U00020000-\U0003ffff]+|[^\W\u2e80-\ud7ff]+")
_DENSE = re.compile(r"[\u2e80-\ud7ff\U00020000-\U0003ffff]")


def terms(text: str) -> list[str]:
    """What is counted of a text, in its order."""
    found: list[str] = []
    for word in _WORDS.findall(text.casefold()):
        if _DENSE.match(word):
            found += [*word, *(word[i : i + 2] for i in range(len(word) - 1))]
        else:
            found.append(word)
    return found


@dataclass(frozen=True, slots=True)
class WordIndex:
    """Documents by their terms.

    Args:
        postings: Term to (documents that have it, what it adds to the score of each).
        documents: How many there are.
    """

    postings: dict[str, tuple[NDArray[np.intp], NDArray[np.float64]]]
    documents: int

    @staticmethod
    def of(documents: Sequence[str]) -> "WordIndex":
        """Count the terms of documents."""
        counts = [Counter(terms(text)) for text in documents]
        lengths = np.array([count.total() for count in counts], np.float64)
        scale = _K * (1 - _B + _B * lengths / max(float(lengths.mean()), 1e-9))
        having: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for place, count in enumerate(counts):
            for term, times in count.items():
                having[term].append((place, times))
        postings: dict[str, tuple[NDArray[np.intp], NDArray[np.float64]]] = {}
        for term, found in having.items():
            places = np.array([place for place, _ in found], np.intp)
            times = np.array([n for _, n in found], np.float64)
            idf = np.log(1 + (len(documents) - len(found) + 0.5) / (len(found) + 0.5))
            postings[term] = places, idf * times * (_K + 1) / (times + scale[places])
        return WordIndex(postings, len(documents))

    def scores(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """(texts, documents)."""
        found = np.zeros((len(texts), self.documents))
        for row, text in enumerate(texts):
            for term in terms(text):
                if term in self.postings:
                    places, adds = self.postings[term]
                    found[row, places] += adds
        return found

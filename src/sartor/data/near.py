"""Near duplicates by the characters they share, so that Chinese works without a word list.

A text is the set of its character n-grams (pairs where a Chinese, Japanese or Korean character
begins, triples elsewhere); two texts are near when their Jaccard similarity |A∩B| / |A∪B| reaches
the threshold. MinHash signatures (Broder 1997, https://doi.org/10.1109/SEQUEN.1997.666900) in
16 bands of 5 find the pairs worth comparing: a pair at 0.8 is missed once in 500. What is found
is then compared exactly.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from sartor.core.texts import Cells

THRESHOLD = 0.8
_BANDS, _WIDTH = 16, 5
_HASHES = _BANDS * _WIDTH
_CHUNK = 1 << 17
"""Characters hashed at once: (characters × 8 bytes) stays in the processor's cache."""
_ALL_PAIRS = 24
"""Buckets up to this size are compared pair by pair; in larger ones, neighbours only."""
_SLACK = 0.17
"""A signature of 80 hashes estimates the similarity within this, at over three deviations."""
_KEPT = 1 << 21
"""Codes of n-grams that are kept: 16 MB."""
_NOT_WORD = re.compile(r"[\W_]+")

Words = NDArray[np.uint64]
Clusters = NDArray[np.int64]


def near_form(text: str) -> str:
    """The text without case, width, punctuation and spacing: what near duplicates are told by."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _NOT_WORD.sub(" ", folded).strip() or folded.strip()


def near_clusters(texts: Sequence[str], *, threshold: float = THRESHOLD) -> Clusters:
    """Group texts that are near, directly or through others.

    Args:
        texts: Any; time is linear in their characters, memory about 700 bytes a text.
        threshold: Least Jaccard similarity, in (0, 1].

    Returns:
        (texts,) the index of the first text of each one's cluster.
    """
    forest = np.arange(len(texts))
    for i, j in near_pairs(texts, threshold=threshold, forest=forest):
        _join(forest, i, j)
    return np.array([_root(forest, i) for i in range(len(texts))], dtype=np.int64)


def row_clusters(columns: Sequence[Sequence[str]], *, threshold: float = THRESHOLD) -> Clusters:
    """Group rows that share a text, directly or through others, in whichever column it stands.

    Rows that hold nothing but columns are one where they are equal: most tables are near one
    another in every cell. An empty text beside columns is like no other.

    Args:
        columns: The texts of each input, all as long; of one, these are its near clusters.
        threshold: As of `near_clusters`.

    Returns:
        (rows,) the index of the first row of each one's cluster.
    """
    count = len(columns[0])
    words = [column for column in columns if not (column and isinstance(column[0], Cells))]
    if len(words) < len(columns):
        return _row_clusters(words, list(zip(*columns, strict=True)), threshold)
    found = near_clusters([text for column in columns for text in column], threshold=threshold)
    if len(columns) == 1:
        return found
    forest, first = np.arange(count), dict[int, int]()
    for place, cluster in enumerate(found.tolist()):
        _join(forest, first.setdefault(cluster, place % count), place % count)
    return np.array([_root(forest, row) for row in range(count)], dtype=np.int64)


def _row_clusters(
    words: Sequence[Sequence[str]], rows: Sequence[tuple[str, ...]], threshold: float
) -> Clusters:
    """Clusters of rows with columns: of equal ones, and of those with near texts."""
    forest = np.arange(len(rows))
    same: dict[tuple[str, ...], int] = {}
    for at, row in enumerate(rows):
        _join(forest, same.setdefault(row, at), at)
    for column in words:
        there = [at for at, text in enumerate(column) if text]
        found = near_clusters([column[at] for at in there], threshold=threshold) if there else ()
        for at, first in enumerate(map(int, found)):
            _join(forest, there[first], there[at])
    return np.array([_root(forest, row) for row in range(len(rows))], dtype=np.int64)


def near_pairs(
    texts: Sequence[str], *, threshold: float = THRESHOLD, forest: NDArray[np.int64] | None = None
) -> Iterator[tuple[int, int]]:
    """Pairs of indices (earlier, later) whose texts are near.

    Args:
        texts: Any.
        threshold: Least Jaccard similarity, in (0, 1].
        forest: Parent of each text, which the caller joins as pairs arrive: pairs that are already
            in one cluster are then not compared again.
    """
    forms = [near_form(text) for text in texts]
    first: dict[str, int] = {}
    for i, form in enumerate(forms):
        if form in first:
            yield first[form], i
        else:
            first[form] = i
    owners = np.fromiter(first.values(), dtype=np.int64, count=len(first))
    unique = list(first)
    grams = _Grams(unique)
    signatures = _signatures(unique)
    for left, right in _candidates(signatures, threshold):
        i, j = sorted((int(owners[left]), int(owners[right])))
        if forest is not None and _root(forest, i) == _root(forest, j):
            continue
        if _jaccard(grams.of(left), grams.of(right)) >= threshold:
            yield i, j


def similarity(one: str, other: str) -> float:
    """Jaccard similarity of the n-grams of two texts in their near form, 0 to 1."""
    grams = _Grams([one, other])
    return _jaccard(grams.of(0), grams.of(1))


class _Grams:
    """The n-grams of texts, as ascending codes; those of the last texts that were asked are kept,
    since the pairs of a text come together."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts, self._kept, self._size = texts, dict[int, Words](), 0

    def of(self, index: int) -> Words:
        """Of one text."""
        if index not in self._kept:
            found = np.unique(_hashed([self._texts[index]])[0])
            self._size += len(found)
            if self._size > _KEPT:
                self._kept, self._size = {}, len(found)
            self._kept[index] = found
        return self._kept[index]


def _jaccard(one: Words, other: Words) -> float:
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / (len(one) + len(other) - shared)


def _signatures(texts: Sequence[str]) -> NDArray[np.uint32]:
    """(texts, 80) MinHash values; the upper half of 64-bit products."""
    random = np.random.default_rng(20240229)
    factors = random.integers(1, 1 << 63, _HASHES, dtype=np.uint64) << np.uint64(1) | np.uint64(1)
    out = np.empty((len(texts), _HASHES), dtype=np.uint32)
    start = 0
    while start < len(texts):
        stop, size = start, 0
        while stop < len(texts) and (size < _CHUNK or stop == start):
            size += len(texts[stop]) + 2
            stop += 1
        grams, starts = _hashed(texts[start:stop])
        product = np.empty_like(grams)
        for k, factor in enumerate(factors):
            np.multiply(grams, factor, out=product)
            out[start:stop, k] = np.minimum.reduceat(product, starts) >> np.uint64(32)
        start = stop
    return out


def _hashed(texts: Sequence[str]) -> tuple[Words, NDArray[np.int64]]:
    """Hashes of all n-grams of some texts, and where each text's begin."""
    joined = "".join(f" {text} " for text in texts)
    points = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    lengths = np.array([len(text) + 2 for text in texts], dtype=np.int64)
    ends = np.cumsum(lengths)
    starts = ends - lengths
    last = np.zeros(len(points), dtype=bool)
    last[ends - 1] = True
    code = points.astype(np.uint64)
    after = np.append(code[1:], np.uint64(0))
    third = np.append(code[2:], np.zeros(min(2, len(code)), dtype=np.uint64))[: len(code)]
    wide = ((code >= 0x2E80) & (code <= 0xD7FF)) | (code >= 0x20000)
    # The gram that would begin at a text's last character, or run past it, ends there instead.
    short = wide | np.append(last[1:], True)
    gram = code << np.uint64(42) | after << np.uint64(21) | np.where(short, np.uint64(0), third)
    # A text's last character starts no gram: repeat the one before it, which a minimum ignores.
    positions = np.flatnonzero(last)
    gram[positions] = gram[positions - 1]
    return _mixed(gram), starts


def _mixed(values: Words) -> Words:
    """splitmix64: spreads every bit over all."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _candidates(signatures: NDArray[np.uint32], threshold: float) -> Iterator[tuple[int, int]]:
    """Pairs that agree on a whole band and whose signatures do not speak against them."""
    seen: set[int] = set()
    count = len(signatures)
    for band in range(_BANDS):
        part = signatures[:, band * _WIDTH : (band + 1) * _WIDTH].astype(np.uint64)
        key = np.zeros(count, dtype=np.uint64)
        for column in part.T:
            key = _mixed(key * np.uint64(0x9E3779B97F4A7C15) + column + np.uint64(1))
        # Ties are ordered by another band, so that each band's neighbours are others.
        order = np.lexsort((signatures[:, (band + 1) * _WIDTH % _HASHES], key))
        pairs = _bucket_pairs(order, key[order])
        if not len(pairs):
            continue
        alike = np.empty(len(pairs))
        for start in range(0, len(pairs), 1 << 15):
            piece = pairs[start : start + (1 << 15)]
            equal = signatures[piece[:, 0]] == signatures[piece[:, 1]]
            alike[start : start + len(piece)] = equal.mean(axis=1)
        for left, right in pairs[alike >= threshold - _SLACK].tolist():
            code = min(left, right) * count + max(left, right)
            if code not in seen:
                seen.add(code)
                yield left, right


def _bucket_pairs(order: NDArray[np.int64], keys: Words) -> NDArray[np.int64]:
    """(pairs, 2) members of equal keys."""
    edges = (
        np.flatnonzero(np.append(True, keys[1:] != keys[:-1])) if len(keys) else np.array([], int)
    )
    sizes = np.diff(np.append(edges, len(keys)))
    found: list[NDArray[np.int64]] = []
    for start, size in zip(edges[sizes > 1].tolist(), sizes[sizes > 1].tolist(), strict=True):
        members = order[start : start + size]
        if size <= _ALL_PAIRS:
            found.append(np.array(list(combinations(members.tolist(), 2)), dtype=np.int64))
            continue
        for step in (1, 2, 3):
            found.append(np.stack([members[:-step], members[step:]], axis=1))
        found.append(np.stack([np.full(size - 1, members[0]), members[1:]], axis=1))
    return np.concatenate(found) if found else np.empty((0, 2), dtype=np.int64)


def _root(forest: NDArray[np.int64], i: int) -> int:
    while forest[i] != i:
        forest[i] = forest[forest[i]]
        i = int(forest[i])
    return i


def _join(forest: NDArray[np.int64], i: int, j: int) -> None:
    """The earlier root leads, so that a cluster's name is its first member."""
    a, b = _root(forest, i), _root(forest, j)
    forest[max(a, b)] = min(a, b)

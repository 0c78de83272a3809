"""Parting documents into cells, and how many of them must be looked at.

Cells are those of k-means on the sphere: each vector goes to the centre whose product with it is
the largest, each centre to the direction of the mean of its vectors (Dhillon and Modha 2001,
doi:10.1023/A:1007612920971). There are 8 · √documents of them: twice as many cells halve what must
be looked into, until finding the cells costs as much as looking into them.

As many are looked at as hold nearly all of the ten nearest documents of some texts; of other texts
it is then told how many were found.
"""

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from sartor.core.protocols import Floats
from sartor.tasks.retrieval.cells import Cells, Places, encoded

FEWEST = 20_000
"""Documents below which an exact search takes less time than it takes to read a text."""
NEAREST = 10
"""Documents that are to be found, as an exact search does."""
_FOUND, _LEAST = 0.998, 0.98
"""Share of them that must lie in the cells that are looked at, so that 0.99 of those of other texts
do; and share that must be found of the texts that tell, or every search stays whole."""
_MOST = 0.2
"""Share of the documents above which looking at cells is hardly faster than looking at all."""
_CELLS, _SAMPLE, _STEPS, _SEED = 8.0, 24, 6, 0
"""Cells a root of the documents; vectors a cell that centres are learnt from; steps of that."""
_ROWS = 4_096
"""Vectors that are compared with all centres at a time."""
_TEXTS = 32
"""Texts that are compared with all documents at a time."""


def parted(vectors: NDArray[np.float16], asked: Floats) -> Cells | None:
    """Cells of documents; None where they are too few, or too much alike, to gain by it.

    Args:
        vectors: (documents, width) of length 1, as the index holds them.
        asked: (texts, width) of length 1, like those that will be asked.
    """
    if len(vectors) < FEWEST or len(asked) < 2:
        return None
    return _worth(cells_of(vectors.astype(np.float32), asked, vectors), len(vectors))


def cells_of(wide: Floats, asked: Floats, vectors: NDArray[np.float16]) -> Cells:
    """Cells of documents, however many there are and whatever is gained.

    Args:
        wide: (documents, width) vectors.
        asked: See `parted`; half of them choose how many cells are looked at, the others tell.
        vectors: The same vectors as the index holds them.
    """
    centres = _centres(wide, max(2, round(_CELLS * sqrt(len(wide)))))
    cell = _nearest(wide, centres)
    document = np.argsort(cell, kind="stable")
    names, starts, sizes = np.unique(cell[document], return_index=True, return_counts=True)
    codes, scale = encoded(wide)
    sums = np.add.reduceat(wide[document], starts, axis=0)
    means = np.asarray(sums / sizes[:, None], np.float32)

    def looking(looked: int, recall: float) -> Cells:
        return Cells(means, sizes, document, scale[document], codes[document], looked, recall)

    first = looking(len(names), 1.0)
    ranks = _ranks(first, asked[::2], wide)
    looked = int(np.quantile(ranks, _FOUND, method="higher")) + 1
    found = looking(looked, 1.0)
    return looking(looked, _recall(found, asked[1::2], wide, vectors))


def _worth(cells: Cells, documents: int) -> Cells | None:
    share = cells.looked * float(cells.sizes.mean()) / documents
    return cells if share <= _MOST and cells.recall >= _LEAST else None


def _centres(vectors: Floats, count: int) -> Floats:
    """(count, width) of length 1."""
    draw = np.random.default_rng(_SEED)
    most = min(len(vectors), count * _SAMPLE)
    sample = vectors[np.sort(draw.choice(len(vectors), most, replace=False))]
    centres = sample[draw.choice(len(sample), count, replace=False)]
    for _ in range(_STEPS):
        cell = _nearest(sample, centres)
        order = np.argsort(cell, kind="stable")
        names, starts = np.unique(cell[order], return_index=True)
        sums = np.add.reduceat(sample[order], starts, axis=0)
        # A centre that none is nearest to begins anew at some vector.
        centres = sample[draw.choice(len(sample), count, replace=False)]
        centres[names] = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    return centres


def _nearest(vectors: Floats, centres: Floats) -> Places:
    """(vectors,) the centre that each is nearest to."""
    parts = range(0, len(vectors), _ROWS)
    found = [(vectors[at : at + _ROWS] @ centres.T).argmax(1) for at in parts]
    return np.concatenate(found).astype(np.int64)


def _ten(asked: Floats, wide: Floats) -> Places:
    """(texts, 10) the documents that an exact search finds."""
    most = min(NEAREST, len(wide))
    found: list[Places] = []
    for at in range(0, len(asked), _TEXTS):
        near = asked[at : at + _TEXTS] @ wide.T
        found.append(np.argpartition(-near, most - 1, axis=1)[:, :most])
    return np.concatenate(found)


def _ranks(cells: Cells, asked: Floats, wide: Floats) -> Places:
    """(texts, 10) how many cells come before the one that holds each of the nearest documents."""
    order = cells.order(asked)
    place = np.empty_like(order)
    np.put_along_axis(place, order, np.arange(order.shape[1])[None], axis=1)
    return np.take_along_axis(place, cells.of(_ten(asked, wide)), axis=1)


def _recall(cells: Cells, asked: Floats, wide: Floats, vectors: NDArray[np.float16]) -> float:
    """Share of the nearest documents that are found."""
    right = _ten(asked, wide)
    found = 0
    for text, documents in zip(asked, right, strict=True):
        near = cells.logits(text[None], vectors)[0]
        found += np.isin(
            np.argpartition(-near, documents.size - 1)[: documents.size], documents
        ).sum()
    return found / right.size

"""A search among many documents that looks at some of them: those in the cells nearest to a text.

Documents are parted into cells (see `partition`), each with the mean of its vectors. Of a text q:

    1. cells in the order of  q · mean + a · √(1 − |mean|²): the second is how far the documents
       of a cell lie from their mean, and the farther, the nearer to q one of them may be. The first
       `looked` are looked at, more where those hold fewer documents than the third step compares
    2. there  q · d ≈ scale_d · (q · code_d),  code_d in int8
    3. the best of those are compared with the vectors themselves, as an exact search does

A document that is not looked at is given what its cell has on average, one that is looked at and
not among the best what its code says, neither more than the last of the best: so the first ones are
found among the best, and shares of probability stay near those of an exact search.

    cells.safetensors    means, sizes, and of each code its document and scale
    codes.npy            (documents, width) int8, cell after cell; mapped, not read

Jégou et al. 2011, for cells and a second look, doi:10.1109/TPAMI.2010.57
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sartor.core.errors import BundleError
from sartor.core.protocols import Floats
from sartor.tasks.retrieval.index import SCALE

CELLS, CODES = "cells.safetensors", "codes.npy"
BEST = 128
"""Documents that are compared with their vectors; more than an answer may list."""
_CODE = 127
_APART = 0.35
"""a above: of 0 to 0.7, 0.3 and 0.4 needed the fewest documents on `benchmarks/base_sizes.py`, a
fifth less than 0."""
_AGAIN = "build the bundle again with `sartor run` or `sartor bundle reindex`."
Codes = NDArray[np.int8]
Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Cells:
    """Safe to share between threads.

    Args:
        means: (cells, width) of the vectors of each.
        sizes: (cells,) documents of each.
        document: (documents,) the place of each code's document.
        scale: (documents,) of each code.
        codes: (documents, width), cell after cell.
        looked: Cells that are looked at.
        recall: Share of the ten nearest that it found of texts that did not choose `looked`.
    """

    means: Floats
    sizes: Places
    document: Places
    scale: Floats
    codes: Codes
    looked: int
    recall: float
    _starts: Places = field(init=False, repr=False)
    _cell: Places = field(init=False, repr=False)
    _apart: Floats = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_starts", np.cumsum(self.sizes) - self.sizes)
        cell = np.empty(len(self.document), np.int64)
        cell[self.document] = np.repeat(np.arange(len(self.sizes)), self.sizes)
        object.__setattr__(self, "_cell", cell)
        apart = np.sqrt(np.maximum(1 - np.square(self.means).sum(1), 0))
        object.__setattr__(self, "_apart", np.float32(_APART) * apart)

    def logits(self, queries: Floats, vectors: NDArray[np.float16]) -> Floats:
        """(queries, documents) of vectors of length 1, as `index.similar` gives them.

        Args:
            queries: (queries, width).
            vectors: (documents, width), in the documents' order; few of them are read.
        """
        found = np.empty((len(queries), len(self.document)), np.float32)
        for row, query in enumerate(queries):
            self._search(query, vectors, found[row])
        return np.multiply(found, np.float32(SCALE), out=found)

    def order(self, queries: Floats) -> Places:
        """(queries, cells), the nearest first."""
        return np.argsort(-(queries @ self.means.T + self._apart), axis=1, kind="stable")

    def of(self, documents: Places) -> Places:
        """The cell of each document."""
        return self._cell[documents]

    def _search(self, query: Floats, vectors: NDArray[np.float16], found: Floats) -> None:
        likely = self.means @ query
        order = np.argsort(-(likely + self._apart), kind="stable")
        held = np.cumsum(self.sizes[order])
        enough = int(np.searchsorted(held, min(BEST, len(found)))) + 1
        # In the file's order, so that it is read in one direction.
        chosen = np.sort(order[: max(self.looked, enough)])
        sizes = self.sizes[chosen]
        ends = np.cumsum(sizes)
        wide = np.empty((int(ends[-1]), self.codes.shape[1]), np.float32)
        for start, size, end in zip(self._starts[chosen], sizes, ends, strict=True):
            wide[end - size : end] = self.codes[start : start + size]
        rows = np.repeat(self._starts[chosen] - (ends - sizes), sizes) + np.arange(len(wide))
        near, places = (wide @ query) * self.scale[rows], self.document[rows]
        best = np.argpartition(-near, min(BEST, len(near)) - 1)[:BEST]
        exact = vectors[places[best]].astype(np.float32) @ query
        least = exact.min()
        near = np.minimum(near, least)
        near[best] = exact
        np.take(np.minimum(likely, least), self._cell, out=found)
        found[places] = near

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """The contents of `cells.safetensors`; whole numbers are exact up to 16 million."""
        return {
            "means": self.means,
            "sizes": self.sizes.astype(np.float32),
            "document": self.document.astype(np.float32),
            "scale": self.scale,
            "looked": np.array([self.looked], np.float32),
            "recall": np.array([self.recall], np.float32),
        }


def encoded(vectors: Floats) -> tuple[Codes, Floats]:
    """(documents, width) in 8 bits, and what each is to be multiplied by."""
    scale = np.maximum(np.abs(vectors).max(1), np.float32(1e-12)) / np.float32(_CODE)
    return np.rint(vectors / scale[:, None]).astype(np.int8), scale


def write_codes(codes: Codes) -> bytes:
    """The contents of `codes.npy`."""
    file = BytesIO()
    np.save(file, np.ascontiguousarray(codes))
    return file.getvalue()


def read_cells(
    tensors: Mapping[str, NDArray[np.float32]], codes: Path, vectors: NDArray[np.float16]
) -> Cells:
    """What a bundle holds, which nobody vouches for.

    Args:
        tensors: Contents of `cells.safetensors`.
        codes: `codes.npy`.
        vectors: (documents, width) of the index beside it.

    Raises:
        BundleError: If the two files are not of one index, or not of this one.
    """
    try:
        mapped = np.load(codes, mmap_mode="r")
        whole = {name: tensors[name].astype(np.int64) for name in ("sizes", "document", "looked")}
        found = Cells(
            tensors["means"],
            whole["sizes"],
            whole["document"],
            tensors["scale"],
            mapped,
            int(whole["looked"][0]),
            float(tensors["recall"][0]),
        )
        sound = _sound(found, vectors.shape)
    except (OSError, EOFError, ValueError, KeyError, IndexError) as error:
        raise BundleError(f"{codes} and {CELLS} hold no cells: {error}.", fix=_AGAIN) from error
    if not sound:
        raise BundleError(
            f"{codes} and {CELLS} are not of the {len(vectors):,} vectors beside them.", fix=_AGAIN
        )
    return found


def _sound(cells: Cells, shape: tuple[int, ...]) -> bool:
    documents, width = shape
    there = np.bincount(cells.document, minlength=documents)
    return (
        (cells.codes.shape, cells.codes.dtype) == (shape, np.dtype(np.int8))
        and cells.means.shape == (len(cells.sizes), width)
        and cells.scale.shape == (documents,)
        and len(there) == documents
        and bool((there == 1).all() and (cells.sizes > 0).all())
        and 1 <= cells.looked <= len(cells.sizes)
    )

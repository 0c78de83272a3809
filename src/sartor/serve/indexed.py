"""A graph with documents beside it: texts to vectors, and vectors to similarities.

The graph makes a vector of a text; the vectors of the documents lie in the bundle, made by the same
graph. One product of the two is an exact search. Where the bundle parts its documents into cells, a
search looks into some of them, and the vectors are mapped, not read.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sartor.bundle import Bundle
from sartor.bundle.tensors import unpack_tensors
from sartor.core.histories import HISTORY
from sartor.core.protocols import Floats
from sartor.core.texts import Text
from sartor.serve.cache import Cache
from sartor.serve.cores import cores
from sartor.serve.graph import Graph, open_graph
from sartor.tasks.retrieval.cells import CELLS, CODES, Cells, read_cells
from sartor.tasks.retrieval.index import (
    DOCUMENTS,
    INDEX,
    map_index,
    read_documents,
    read_index,
    similar,
)

if TYPE_CHECKING:
    from sartor.serve.table import TableGraph


@dataclass(frozen=True, slots=True)
class Indexed:
    """Safe to share between threads.

    Args:
        graph: Texts to vectors of length 1.
        search: (texts, width) vectors to (texts, documents) logits.
    """

    graph: "Graph | TableGraph"
    search: Callable[[Floats], Floats]

    def logits(self, texts: Sequence[Text]) -> Floats:
        """(texts, documents), in the order of the texts."""
        return self.search(self.graph.logits(texts))


def open_model(
    bundle: Bundle, threads: int, cache: Cache | None = None
) -> "Graph | TableGraph | Indexed":
    """The graph of a bundle, with its documents where it has some.

    Raises:
        BundleError: If it cannot be run, or its index is damaged.
    """
    if INDEX not in bundle.manifest.files:
        return open_graph(bundle, threads, cache)
    documents = len(bundle.manifest.outputs)
    mapped = map_index(bundle.path(INDEX), documents)
    graph = open_graph(bundle, threads, cache, mapped.shape[1])
    if CELLS in bundle.manifest.files:
        return Indexed(graph, partial(_cells(bundle, mapped).logits, vectors=mapped))
    whole = read_index(bundle.path(INDEX), documents)
    return Indexed(graph, partial(similar, vectors=whole))


def _cells(bundle: Bundle, vectors: NDArray[np.float16]) -> Cells:
    path = bundle.path(CELLS)
    tensors = unpack_tensors(path.read_bytes(), str(path))
    return read_cells(tensors, bundle.path(CODES), vectors)


def decision_of(bundle: Bundle) -> Mapping[str, Any]:
    """The decision rule; with the documents, where answers quote them, and the skills of items.

    Raises:
        BundleError: If the documents cannot be read.
    """
    decision, code = bundle.manifest.decision, bundle.manifest.preprocess.columns
    if code is not None and HISTORY in code.columns and (skills := code.columns[HISTORY].skills):
        decision = {**decision, "skills": skills}
    if DOCUMENTS not in bundle.manifest.files:
        return decision
    return {**decision, "documents": read_documents(bundle.path(DOCUMENTS))}


def embed(bundle: Bundle, documents: Sequence[str], prefix: str) -> Floats:
    """(documents, width) vectors of length 1, by a bundle's graph.

    Args:
        bundle: With or without an index.
        documents: What they say.
        prefix: Put before every document, in place of the bundle's own.

    Raises:
        BundleError: If the graph cannot be run, or makes no vectors.
    """
    read = bundle.manifest.preprocess.model_copy(update={"prefix": prefix})
    asked = Bundle(bundle.folder, bundle.manifest.model_copy(update={"preprocess": read}))
    graph = open_graph(asked, cores(), outputs=0)
    return graph.logits(documents)

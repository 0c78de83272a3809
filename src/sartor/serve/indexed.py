"""A graph with documents beside it: texts to vectors, and vectors to similarities.

The graph makes a vector of a text; the vectors of the documents lie in the bundle, made by the same
graph. One product of the two is an exact search.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sartor.bundle import Bundle
from sartor.core.histories import HISTORY
from sartor.core.protocols import Floats
from sartor.core.texts import Text
from sartor.serve.cache import Cache
from sartor.serve.cores import cores
from sartor.serve.graph import Graph, open_graph
from sartor.tasks.retrieval.index import (
    DOCUMENTS,
    INDEX,
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
        vectors: (documents, width).
    """

    graph: "Graph | TableGraph"
    vectors: Floats

    def logits(self, texts: Sequence[Text]) -> Floats:
        """(texts, documents), in the order of the texts."""
        return similar(self.graph.logits(texts), self.vectors)


def open_model(
    bundle: Bundle, threads: int, cache: Cache | None = None
) -> "Graph | TableGraph | Indexed":
    """The graph of a bundle, with its documents where it has some.

    Raises:
        BundleError: If it cannot be run, or its index is damaged.
    """
    if INDEX not in bundle.manifest.files:
        return open_graph(bundle, threads, cache)
    vectors = read_index(bundle.path(INDEX), len(bundle.manifest.outputs))
    return Indexed(open_graph(bundle, threads, cache, vectors.shape[1]), vectors)


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

"""What lies beside a graph that finds documents: their words, their vectors and, of many, cells.

How many cells a search must look into is learnt from texts like those that will be asked. Where
none are at hand, as with a base that is put into a bundle later, pieces of the documents stand for
them, read as what is asked and not as a document is: Lee et al. 2019, https://arxiv.org/abs/1906.00300
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from sartor.bundle import Bundle
from sartor.bundle.tensors import pack_tensors
from sartor.core.durable import write_durably
from sartor.core.events import Emit, Note
from sartor.core.protocols import Floats
from sartor.need.model import Need
from sartor.serve.indexed import embed
from sartor.tasks import TASKS
from sartor.tasks.retrieval.cells import CELLS, CODES, Cells, write_codes
from sartor.tasks.retrieval.index import DOCUMENTS, INDEX, write_documents, write_index
from sartor.tasks.retrieval.partition import FEWEST, parted

FILES = (DOCUMENTS, INDEX, CELLS, CODES)
"""Of which the last two are not always there."""
_ASKED = 512
"""Pieces that stand for texts."""
_LONGEST = 160
"""Characters of one."""
_SEED = 0


def tell_of_cells(need: Need, emit: Emit) -> None:
    """Say where a base is so large that a bundle may search it in part.

    Args:
        need: With its documents.
        emit: Told.
    """
    roles, count = TASKS.get(need.task)().roles, len(need.data.label_descriptions)
    finds = "documents" in roles.targets.values() and roles.holds == "texts"
    if finds and count >= FEWEST:
        emit(
            Note(
                f"{count:,} documents: a bundle looks for the nearest in a part of them, chosen so"
                " that 99 % of what a whole search finds is found, where that takes less time; it"
                " is judged as it searches."
            )
        )


def write_words(words: Mapping[str, str], to: Path) -> None:
    """Write `documents.jsonl` alone, where a graph reads no documents."""
    write_durably(to / DOCUMENTS, write_documents(words))


def write_base(bundle: Bundle, words: Mapping[str, str], vectors: Floats, to: Path) -> Cells | None:
    """Write what lies beside a graph.

    Args:
        bundle: Has the graph.
        words: Id to what a document says.
        vectors: (documents, width) of them, each of length 1.
        to: Folder of the files.

    Returns:
        The cells; None where every search looks at all documents.

    Raises:
        BundleError: If the graph cannot be run.
    """
    write_words(words, to)
    write_durably(to / INDEX, write_index(vectors))
    if len(words) < FEWEST:
        return None
    asked = embed(bundle, pieces(list(words.values())), bundle.manifest.preprocess.prefix)
    cells = parted(vectors.astype(np.float16), asked)
    if cells is not None:
        write_durably(to / CELLS, pack_tensors(cells.tensors()))
        write_durably(to / CODES, write_codes(cells.codes))
    return cells


def pieces(documents: Sequence[str]) -> list[str]:
    """A half of each of some documents, from any place in it."""
    draw = np.random.default_rng(_SEED)
    chosen = draw.choice(len(documents), min(_ASKED, len(documents)), replace=False)
    found: list[str] = []
    for place in map(int, chosen):
        text = documents[place]
        length = min(_LONGEST, max(len(text) // 2, 1))
        start = int(draw.integers(len(text) - length + 1))
        found.append(text[start : start + length].strip() or text)
    return found

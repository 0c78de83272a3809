"""The base of documents as a bundle holds it: their words, and a vector of each.

    documents.jsonl      one object a line: id and text
    index.npy            vectors (documents, width) float16, each of length 1 before rounding

Rounding to float16 moves a cosine by less than 0.001. Search is exact: one product of a text's
vector with all of them; among many documents `cells` says which part is looked at.
docs/explanation/benchmarks.md has the times.
"""

import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sartor.core.errors import BundleError
from sartor.core.protocols import Floats

DOCUMENTS, INDEX = "documents.jsonl", "index.npy"
SCALE = 20.0
"""Logits a unit of cosine; the decision rule's temperature rescales them."""
MOST_DOCUMENTS = 100_000
MOST_CHARACTERS = 20_000
"""Of one document; a model reads far fewer."""
_MOST_BYTES = 1 << 30
_AGAIN = "build the bundle again with `sartor run`."


def write_documents(documents: Mapping[str, str]) -> bytes:
    """The contents of `documents.jsonl`, of id to words."""
    lines = (json.dumps({"id": name, "text": text}) + "\n" for name, text in documents.items())
    return "".join(lines).encode()


def read_documents(path: Path) -> dict[str, str]:
    """Id to words, in the file's order.

    Raises:
        BundleError: If the file is not of its form.
    """
    if path.stat().st_size > _MOST_BYTES:
        raise BundleError(f"{path} is larger than {_MOST_BYTES / 1e9:.1f} GB.", fix=_AGAIN)
    found: dict[str, str] = {}
    try:
        for line in path.read_bytes().splitlines():
            each = json.loads(line)
            found[str(each["id"])] = str(each["text"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BundleError(f"{path} is no list of documents: {error}.", fix=_AGAIN) from error
    return found


def write_index(vectors: Floats) -> bytes:
    """The contents of `index.npy`.

    Args:
        vectors: (documents, width), each of length 1.
    """
    file = BytesIO()
    np.save(file, np.ascontiguousarray(vectors, np.float16))
    return file.getvalue()


def read_index(path: Path, documents: int) -> NDArray[np.float32]:
    """(documents, width) vectors.

    Raises:
        BundleError: If the file does not hold a vector of each document.
    """
    return map_index(path, documents).astype(np.float32)


def map_index(path: Path, documents: int) -> NDArray[np.float16]:
    """(documents, width) vectors, which stay in the file until they are used.

    Raises:
        BundleError: If the file does not hold a vector of each document.
    """
    try:
        found = np.load(path, mmap_mode="r")
    except (OSError, EOFError, ValueError) as error:
        raise BundleError(f"{path} holds no vectors: {error}.", fix=_AGAIN) from error
    if found.ndim != 2 or len(found) != documents or found.dtype != np.float16:
        raise BundleError(
            f"{path} holds {found.shape} of {found.dtype}, and there are {documents:,} documents.",
            fix=_AGAIN,
        )
    return found


def similar(queries: Floats, vectors: Floats) -> Floats:
    """(queries, documents) logits of vectors of length 1."""
    return np.float32(SCALE) * (queries @ vectors.T)

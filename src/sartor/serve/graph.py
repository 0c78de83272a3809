"""A graph and its tokenizer: texts in, logits out.

Texts are sorted by length and cut into batches of a bounded number of tokens, padding included:
a long text then never makes short ones pay for its length, and memory has a bound. Both libraries
release the interpreter's lock while they compute, so one graph may serve several threads.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sartor.bundle import Bundle
from sartor.core.protocols import Floats
from sartor.core.texts import Text
from sartor.serve.beside import beside
from sartor.serve.cache import Cache
from sartor.serve.lanes import Lanes
from sartor.serve.reading import Reader
from sartor.serve.session import Session

if TYPE_CHECKING:
    from sartor.serve.table import TableGraph

MODEL = "model.onnx"
Ids = NDArray[np.int64]
Piece = tuple[Sequence[int], ...]
"""Token ids of a text; of two texts that are read apart, those of each."""
_BETWEEN = np.int64(-1).tobytes()
BATCH_TOKENS = 2_048
"""Tokens in one forward pass, padding included; more gains nothing on a CPU and costs cache."""


def open_graph(bundle: Bundle, threads: int, cache: Cache | None = None) -> "Graph | TableGraph":
    """The graph of a bundle, ready to run.

    Raises:
        BundleError: If it has none, or ONNX Runtime cannot run it.
    """
    path, manifest = bundle.path(MODEL), bundle.manifest
    if manifest.preprocess.columns is not None:
        from sartor.serve.table import open_table

        return open_table(bundle, threads, cache)
    # ONNX Runtime leaves the interpreter free while it prepares the graph.
    opening = beside(lambda: Session.open(path, threads))
    reader = Reader.open(bundle)
    lanes = Lanes(path, manifest.files[MODEL].sha256, threads)
    return Graph(opening(), reader, len(manifest.outputs), cache, lanes)


@dataclass(frozen=True, slots=True)
class Graph:
    """Safe to share between threads.

    Args:
        session: Runs the graph.
        reader: Texts to token ids.
        outputs: Logits of a text.
        cache: Of logits, by token ids; None keeps nothing.
        lanes: Where many batches run; None has them all run one after the other.
    """

    session: Session
    reader: Reader
    outputs: int
    cache: Cache | None = None
    lanes: Lanes | None = None

    def logits(self, texts: Sequence[Text]) -> Floats:
        """(texts, outputs), in the order of the texts."""
        reading = self.reader.read(texts, apart=self.session.apart)
        # What one row of a batch is made of: its token ids, or those of both its texts.
        sides = (reading.pieces,) if reading.others is None else (reading.pieces, reading.others)
        pieces, cache = list(zip(*sides, strict=True)), self.cache
        if cache is None:
            return reading.joined(self._computed(pieces))
        keys = [cache.key(_content(piece)) for piece in pieces]
        kept = cache.answer(keys, lambda rows: self._computed([pieces[row] for row in rows]))
        return reading.joined(kept)

    def _computed(self, pieces: Sequence[Piece]) -> Floats:
        result = np.empty((len(pieces), self.outputs), np.float32)

        def forward(session: Session, rows: list[int]) -> None:
            sides = zip(*(pieces[row] for row in rows), strict=True)
            found = (array for side in sides for array in padded(side, self.reader.pad))
            result[rows] = session.run(*found)

        parts = batches([sum(map(len, piece)) for piece in pieces])
        if self.lanes is not None and self.lanes.takes(len(parts)):
            self.lanes.run(parts, forward)
        else:
            for rows in parts:
                forward(self.session, rows)
        return result


def padded(pieces: Sequence[Sequence[int]], pad: int) -> tuple[Ids, Ids]:
    """(pieces, longest) token ids filled up with `pad`, and their mask: 1 for a token."""
    longest = max(1, max(map(len, pieces)))
    ids = np.full((len(pieces), longest), pad, np.int64)
    mask = np.zeros((len(pieces), longest), np.int64)
    for row, found in enumerate(pieces):
        ids[row, : len(found)] = found
        mask[row, : len(found)] = 1
    return ids, mask


def _content(piece: Piece) -> bytes:
    """What the model reads of a row: token ids, and -1, which is none, between two texts."""
    first, *others = (np.array(ids, np.int64) for ids in piece)
    return b"".join([first.tobytes(), *(_BETWEEN + ids.tobytes() for ids in others)])


def batches(lengths: Sequence[int]) -> list[list[int]]:
    """Rows by length, cut where rows × longest would pass the token budget."""
    found: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        if not found or (len(found[-1]) + 1) * lengths[row] > BATCH_TOKENS:
            found.append([])
        found[-1].append(row)
    return found

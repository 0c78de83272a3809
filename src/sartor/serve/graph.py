"""A graph and its tokenizer: texts in, logits out.

Texts are sorted by length and cut into batches of like length and a bounded number of tokens: on a
CPU the tokens of a batch cost what they cost alone, so padding is all loss, and memory has a bound.
Both libraries release the interpreter's lock while they compute, so one graph may serve several
threads.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sartor.bundle import Bundle
from sartor.core.protocols import Floats
from sartor.core.texts import Text
from sartor.core.windows import LEAD, joined
from sartor.serve.beside import beside
from sartor.serve.cache import Cache
from sartor.serve.in_pieces import Stretch, stretches
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
PASS_TOKENS = 10
"""What a pass costs beside its tokens, in tokens: to set up every operator once more."""


def open_graph(
    bundle: Bundle, threads: int, cache: Cache | None = None, outputs: int | None = None
) -> "Graph | TableGraph":
    """The graph of a bundle, ready to run.

    Args:
        bundle: From `open_bundle`.
        threads: Of one pass.
        cache: Of what the graph makes of texts.
        outputs: Numbers that it makes of one, 0 for as many as the graph says; those of the
            manifest when None.

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
    session = opening()
    lanes = Lanes(path, manifest.files[MODEL].sha256, threads)
    count = len(manifest.outputs) if outputs is None else outputs or session.outputs
    return Graph(session, reader, count, cache, lanes)


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
        """(texts, outputs), in the order of the texts; or (texts, pieces, outputs), see
        `core.ragged`."""
        if self.session.by_piece:
            return self._by_piece(texts)
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

        self._run([sum(map(len, piece)) for piece in pieces], forward)
        return result

    def _by_piece(self, texts: Sequence[Text]) -> Floats:
        parts, cache = stretches(self.reader, texts), self.cache
        lead = LEAD if isinstance(texts[0], tuple) else 0
        if cache is None:
            return joined(parts, self._answered(parts), len(texts), lead)
        keys = [cache.key(part.content) for part in parts]
        kept = cache.rows(keys, lambda rows: self._answered([parts[row] for row in rows]))
        return joined(parts, [row.reshape(-1, self.outputs) for row in kept], len(texts), lead)

    def _answered(self, parts: Sequence[Stretch]) -> list[Floats]:
        """(pieces read, outputs) of each."""
        result = [np.empty((part.read, self.outputs), np.float32) for part in parts]

        def forward(session: Session, rows: list[int]) -> None:
            ids, mask = padded([parts[row].ids for row in rows], self.reader.pad)
            for at, row in enumerate(rows):
                mask[at, : len(parts[row].marks)] += np.array(parts[row].marks, np.int64)
            for row, found in zip(rows, session.run(ids, mask), strict=True):
                # More pieces than tokens are not read: see `tasks._encoder.by_piece`.
                result[row] = found[: parts[row].read]

        self._run([len(part.ids) for part in parts], forward)
        return result

    def _run(self, lengths: Sequence[int], forward: Callable[[Session, list[int]], None]) -> None:
        """Every batch of rows of these lengths, on as many lanes as there are."""
        parts = batches(lengths)
        if self.lanes is not None:
            self.lanes.run(self.session, parts, sum(lengths), forward)
        else:
            for rows in parts:
                forward(self.session, rows)


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
    """Rows by length, cut where rows × longest would pass the token budget, or where the padding
    that a row brings to the shorter ones would cost more than a pass of its own."""
    found: list[list[int]] = []
    longest = 0
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        length = lengths[row]
        rows = len(found[-1]) if found else 0
        full = (rows + 1) * length > BATCH_TOKENS
        if not found or full or rows * (length - longest) > PASS_TOKENS:
            found.append([])
        found[-1].append(row)
        longest = length
    return found

"""A graph that reads columns: rows in, logits out.

The columns become numbers by the code that the manifest holds; a graph of columns alone gets
nothing else. Texts beside them are cut into batches by their length, as without columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sartor.bundle import Bundle
from sartor.core.columns import TableCode
from sartor.core.protocols import Floats
from sartor.core.texts import COLUMNS, Text, cells_of, flat
from sartor.serve.cache import Cache
from sartor.serve.graph import MODEL, batches, padded
from sartor.serve.reading import Reader
from sartor.serve.session import Session

_ROWS = 1_024
"""Rows of columns alone in one pass."""


def open_table(bundle: Bundle, threads: int, cache: Cache | None = None) -> "TableGraph":
    """The graph of a bundle that reads columns, ready to run.

    Raises:
        BundleError: If it has none, or ONNX Runtime cannot run it.
    """
    manifest = bundle.manifest
    code = manifest.preprocess.columns
    assert code is not None, "asked for only where there is one"
    session = Session.open(bundle.path(MODEL), threads, also=(COLUMNS,))
    reader = Reader.open(bundle) if session.inputs else None
    return TableGraph(session, reader, code, len(manifest.outputs), cache)


@dataclass(frozen=True, slots=True)
class TableGraph:
    """Safe to share between threads.

    Args:
        session: Runs the graph.
        reader: Texts to token ids; None where the graph reads columns alone.
        code: Columns to numbers.
        outputs: Logits of a row.
        cache: Of logits, by what the graph reads; None keeps nothing.
    """

    session: Session
    reader: Reader | None
    code: TableCode
    outputs: int
    cache: Cache | None = None

    def logits(self, texts: Sequence[Text]) -> Floats:
        """(rows, outputs), in the order of the rows."""
        table = (
            self.code.encode(cells_of(texts))
            if texts
            else np.empty((0, self.code.width), np.float32)
        )
        pieces: list[Sequence[int]] = [()] * len(texts)
        if self.reader is not None:
            pieces = list(self.reader.read(flat(texts)).pieces)
        cache = self.cache
        if cache is None:
            return self._computed(table, pieces, range(len(texts)))
        keys = [
            cache.key(np.array(ids, np.int64).tobytes() + row.tobytes())
            for ids, row in zip(pieces, table, strict=True)
        ]
        return cache.answer(keys, lambda rows: self._computed(table, pieces, rows))

    def _computed(
        self, table: Floats, pieces: Sequence[Sequence[int]], rows: Sequence[int]
    ) -> Floats:
        result = np.empty((len(rows), self.outputs), np.float32)
        if self.reader is None:
            parts = [
                list(range(at, min(at + _ROWS, len(rows)))) for at in range(0, len(rows), _ROWS)
            ]
        else:
            parts = batches([len(pieces[row]) for row in rows])
        for part in parts:
            here = [rows[at] for at in part]
            pad = 0 if self.reader is None else self.reader.pad
            ids, mask = padded([pieces[row] for row in here], pad)
            result[part] = self.session.all(ids, mask, {COLUMNS: table[here]})[0]
        return result

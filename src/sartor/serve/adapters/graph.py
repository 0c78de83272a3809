"""One graph for all users: the adapters of a whole batch go through it in a single pass.

    features, logits = graph(texts)            the same for everybody
    logits_i = W_u(i) f_i + b_u(i)             for a row whose user has a head
    y_i = W x_i + (x_i A_u(i)) B_u(i)          in every adapted layer, for one whose user has a LoRA

Heads are gathered a row and multiplied as one batch; what they read is computed once for each
different text, however many users ask for it. Low-rank tables are gathered a row too, and go into
the graph as inputs: rows without one get zeros, which change nothing. Nothing is shared between
passes, so there is no slot in which one user could find another's numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sartor.bundle import Bundle
from sartor.bundle.base import ROWS, Base, verified_base
from sartor.core.errors import SettingError
from sartor.core.protocols import Floats
from sartor.core.texts import Text
from sartor.serve.adapters.store import Adapters, AdapterStore, Loaded
from sartor.serve.beside import beside
from sartor.serve.cache import Cache
from sartor.serve.graph import MODEL, batches, padded
from sartor.serve.opening import composed
from sartor.serve.reading import Reader
from sartor.serve.session import Session
from sartor.tasks.retrieval.index import INDEX

Whose = Sequence[Loaded | None]
"""The adapter of each row; None for the answer that all get."""


def open_adapted(
    bundle: Bundle, adapters: Adapters, threads: int, cache: Cache | None = None
) -> "AdaptedGraph":
    """The graph of a bundle that answers each user by their own adapter.

    Args:
        bundle: Verified.
        adapters: Made for this very bundle.
        threads: Of one forward pass.
        cache: See `AdaptedGraph`.

    Raises:
        BundleError: If there is no base, it is another bundle's, or it was changed.
        SettingError: If there is no memory for adapters, the answers are documents, or other
            bundles answer.
    """
    if INDEX in bundle.manifest.files:
        raise SettingError(
            f"{bundle.folder} finds documents, whose vectors are everybody's.",
            fix="serve it without adapters.",
        )
    if composed(bundle):
        raise SettingError(
            f"{bundle.folder} is a product, whose parts answer everybody alike.",
            fix="serve it without adapters.",
        )
    source = bundle.manifest.files[MODEL].sha256 if MODEL in bundle.manifest.files else ""
    base, path = verified_base(adapters.root, bundle.manifest.id, source)
    store = AdapterStore(adapters, base)
    also = [*table_names(base), *([ROWS] if base.shared else [])]
    opening = beside(lambda: Session.open(path, threads, also))
    reader = Reader.open(bundle)
    return AdaptedGraph(opening(), reader, base, store, _zeros(base), cache)


def table_names(base: Base) -> list[str]:
    """Inputs of the base's graph that take tables, in the order of `Loaded.tables`."""
    return [f"{name}.{side}" for name in base.linears for side in "AB"]


@dataclass(frozen=True, slots=True)
class AdaptedGraph:
    """Safe to share between threads.

    Args:
        session: Runs the base's graph.
        reader: Texts to token ids.
        base: What adapters must fit.
        store: Where they come from.
        zeros: Tables that change nothing.
        cache: Of what the graph makes of a text, by token ids and, where the user has low-rank
            tables, their mark; None keeps nothing.
    """

    session: Session
    reader: Reader
    base: Base
    store: AdapterStore
    zeros: tuple[Floats, ...]
    cache: Cache | None = None

    def logits(self, texts: Sequence[Text], whose: Whose = ()) -> Floats:
        """(texts, outputs), in the order of the texts.

        Args:
            texts: Of any users.
            whose: One a text; empty where all get the answer that everybody gets.
        """
        reading = self.reader.read(texts)
        whose = whose or [None] * len(texts)
        # The pieces of a long text are all of one user.
        given = [w for w, n in zip(whose, reading.counts, strict=True) for _ in range(n)]
        rows = self._rows(reading.pieces, given)
        return reading.joined(_with_heads(rows, given, self.base.outputs))

    def features(self, texts: Sequence[Text]) -> Floats:
        """(texts, features): what the head reads; of a text in windows, their mean."""
        reading = self.reader.read(texts)
        rows = self._rows(reading.pieces, [None] * len(reading.pieces))
        return reading.joined(np.ascontiguousarray(rows[:, self.base.outputs :]))

    def _rows(self, pieces: Sequence[Sequence[int]], given: Whose) -> Floats:
        """(pieces, outputs + features); what is asked twice is computed once."""
        keys = [
            (one.mark if one and one.tables else bytes(16)) + np.array(ids, np.int64).tobytes()
            for ids, one in zip(pieces, given, strict=True)
        ]

        def compute(rows: list[int]) -> Floats:
            return self._computed([pieces[row] for row in rows], [given[row] for row in rows])

        if self.cache is not None:
            return self.cache.answer([self.cache.key(key) for key in keys], compute)
        first: dict[bytes, int] = {}
        for row, key in enumerate(keys):
            first.setdefault(key, row)
        computed = compute(list(first.values()))
        place = {key: at for at, key in enumerate(first)}
        return computed[[place[key] for key in keys]]

    def _computed(self, pieces: Sequence[Sequence[int]], given: Whose) -> Floats:
        result = np.empty((len(pieces), self.base.outputs + self.base.features), np.float32)
        for rows in batches([len(ids) for ids in pieces]):
            part = [tuple(pieces[row]) for row in rows]
            more: dict[str, NDArray[Any]] = dict(
                zip(table_names(self.base), self._tables([given[row] for row in rows]), strict=True)
            )
            if self.base.shared:
                # What no table touches runs once for a text that several of these rows are about.
                texts = {ids: place for place, ids in enumerate(dict.fromkeys(part))}
                more[ROWS] = np.array([texts[ids] for ids in part], np.int64)
                part = list(texts)
            found = self.session.all(*padded(part, self.reader.pad), more)
            result[rows] = np.concatenate(found, axis=1)
        return result

    def _tables(self, given: Whose) -> Sequence[Floats]:
        """(1, …) where the rows of a pass share one adapter, else (rows, …)."""
        sets = [one.tables if one and one.tables else self.zeros for one in given]
        if all(tables is sets[0] for tables in sets):
            return sets[0]
        return [np.concatenate(column) for column in zip(*sets, strict=True)]


def _with_heads(rows: Floats, given: Whose, outputs: int) -> Floats:
    """(rows, outputs): the graph's logits, or those of the row's own head."""
    logits = np.ascontiguousarray(rows[:, :outputs])
    heads = {id(one): one.head for one in given if one and one.head}
    if not heads:
        return logits
    own = [row for row, one in enumerate(given) if one and one.head]
    place = {key: at for at, key in enumerate(heads)}
    which = [place[id(given[row])] for row in own]
    weights, biases = (np.stack(parts) for parts in zip(*heads.values(), strict=True))
    features = rows[own, outputs:, None]
    logits[own] = np.matmul(weights[which], features)[:, :, 0] + biases[which]
    return logits


def _zeros(base: Base) -> tuple[Floats, ...]:
    return tuple(
        np.zeros(shape, np.float32)
        for width, height in base.linears.values()
        for shape in ((1, width, base.rank), (1, base.rank, height))
    )

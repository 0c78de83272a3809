"""What histories and the choices after them say of items: parts that recommend, and their weights.

    popular      log(1 + n_i), and whether nobody chose i at all;   n_i choices of the training rows
    neighbours   s(j, i) = c(j, i) / (√(c_j c_i) + shrinkage),  c(j, i) = Σ_rows decay^p where j is
                 at place p of the history and i was chosen: a cosine with shrinkage, in the order
                 of time (Sarwar et al. 2001, doi:10.1145/371920.372071)
    alike        the cosine of two items' texts, as the backbone reads them, less what all share

A row's logits are a weighted sum of the parts; the weights are those that make the latest training
rows likeliest when the parts are made of the earlier ones alone:

    max over w of Σ_rows log Σ_{i right} softmax(Σ_k w_k · part_k)_i,   w >= 0 but of "nobody"

so that a part which knows the rows by heart is not believed. The parts are then made of all rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import numpy as np
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import logsumexp

from sartor.core.errors import DataError
from sartor.core.histories import LENGTH
from sartor.core.protocols import Floats
from sartor.tasks.recommendation.model import LEAST, Near, Vectors, made_of
from sartor.tune.frozen import ClosedFit, Frozen
from sartor.tune.fused import table_of, wordless

Doubles = NDArray[np.float64]
Decay = Annotated[float, Gt(0), Le(1)]
"""As a setting: weight of a place of the history against that of the next newer one."""
Most = Annotated[int, Ge(1), Le(LENGTH)]
"""As a setting: places that count, the newest."""
_ASIDE, _MOST_ASIDE = 0.15, 4_000
"""Share of the training rows, the latest, that weigh the parts; and at most."""
_CELLS = 2_000_000
"""Scores of one part that are held while parts are weighed."""
_ROWS = 512
"""Rows that are scored at a time."""
NEIGHBOURS = 64
"""Of an item, at most."""
_PENALTY = 1e-5
"""Of the weights' squares, so that none runs away where a part says nothing."""
_FEWEST = 50
"""Rows aside below which the parts are taken as they are."""
OUT = -1e4
"""Logit of an item that is not recommended."""


@dataclass(frozen=True, slots=True)
class Choices:
    """Rows as numbers, in the order of time.

    Args:
        seen: (rows, length) places of the history's items, the newest first, then −1.
        right: (rows, most) what was chosen, then −1.
        items: How many there are.
        repeats: Whether what was chosen may be chosen again.
    """

    seen: NDArray[np.int64]
    right: NDArray[np.int64]
    items: int
    repeats: bool = False

    def __len__(self) -> int:
        return len(self.seen)

    def take(self, rows: slice | NDArray[np.int64]) -> "Choices":
        return Choices(self.seen[rows], self.right[rows], self.items, self.repeats)

    def counts(self) -> Doubles:
        """(items,) how often each was chosen."""
        return np.bincount(self.right[self.right >= 0], minlength=self.items).astype(np.float64)

    def masked(self, logits: Floats) -> Floats:
        """(rows, items) logits, with what a row's history holds out of the question; in place."""
        if not self.repeats:
            rows, places = np.nonzero(self.seen >= 0)
            logits[rows, self.seen[rows, places]] = OUT
        return logits


class Part(Protocol):
    """One thing that says what is chosen next."""

    def scores(self, seen: NDArray[np.int64]) -> Floats:
        """(rows, items) of encoded histories."""
        ...


@dataclass(frozen=True, slots=True)
class Constant:
    """The same for every history.

    Args:
        values: (items,).
    """

    values: Floats

    def scores(self, seen: NDArray[np.int64]) -> Floats:
        return np.broadcast_to(self.values, (len(seen), len(self.values)))


@dataclass(frozen=True, slots=True)
class Neighbours:
    """See `Near`."""

    near: Near
    items: int

    def scores(self, seen: NDArray[np.int64]) -> Floats:
        count, width = self.near.items.shape
        ends = np.arange(0, count * width + 1, width)
        flat = (self.near.share.ravel(), self.near.items.ravel(), ends)
        after = sparse.csr_matrix(flat, shape=(count, self.items))
        return (_marks(seen, self.near.place, self.items) @ after).toarray().astype(np.float32)


@dataclass(frozen=True, slots=True)
class Compared:
    """See `Vectors`."""

    vectors: Vectors

    def scores(self, seen: NDArray[np.int64]) -> Floats:
        weight = (seen >= 0) * self.vectors.place
        used = max(1, int((weight > 0).any(0).sum()))
        given = self.vectors.given[np.maximum(seen[:, :used], 0)]
        said = np.einsum("rp,rpd->rd", weight[:, :used], given)
        said /= np.maximum(weight.sum(1, keepdims=True), LEAST)
        return (said @ self.vectors.wanted.T).astype(np.float32)


Make = Callable[[Choices], Part]
"""Training rows to a part made of them."""


def choices_of(frozen: Frozen) -> Choices:
    """The training rows.

    Raises:
        DataError: If no row has a history that holds a known item.
        SettingError: If the rows have no history.
    """
    seen, right = table_of(frozen, frozen.train).astype(np.int64), frozen.labels[:, 0]
    if not (seen >= 0).any():
        raise DataError(
            "No training row has a history: nobody chose twice.",
            fix="add rows of users who chose more than once, or check data.user.",
        )
    items = len(frozen.outputs)
    both = [_marks(each, np.ones(each.shape[1], np.float32), items) for each in (seen, right)]
    return Choices(seen, right, items, repeats=bool(both[0].multiply(both[1]).nnz))


def decayed(decay: float, length: int, most: int) -> Floats:
    """(length,) weight of a history's places, the newest first: none beyond `most`."""
    return np.where(np.arange(length) < most, decay ** np.arange(length), 0.0).astype(np.float32)


def popular(rows: Choices) -> tuple[Constant, Constant]:
    """How often items were chosen, and whether they were at all."""
    counts = rows.counts()
    return (
        Constant(np.log1p(counts).astype(np.float32)),
        Constant((counts == 0).astype(np.float32)),
    )


def neighbours(rows: Choices, decay: float, shrinkage: float, most: int) -> Neighbours:
    """What is chosen after what.

    Args:
        rows: To learn from.
        decay: Weight of a place of the history against that of the newer one before it.
        shrinkage: Choices that a pair must have for half of its cosine to be believed, about.
        most: Items of a history that count.
    """
    items, length = rows.items, rows.seen.shape[1]
    place = decayed(decay, length, most)
    # One entry for each pair of an item of a row's history and one of its choices.
    history = _marks(rows.seen, place, items)
    chosen = _marks(rows.right, np.ones(rows.right.shape[1], np.float32), items)
    after: Any = (history.T @ chosen).tocsr()
    of, to = np.asarray(history.sum(0)).ravel(), np.asarray(chosen.sum(0)).ravel()
    source = np.repeat(np.arange(items), np.diff(after.indptr))
    after.data /= np.sqrt(of[source] * to[after.indices]) + shrinkage
    width = min(NEIGHBOURS, items)
    near, share = np.zeros((items, width), np.int64), np.zeros((items, width), np.float32)
    for item in range(items):
        where = slice(after.indptr[item], after.indptr[item + 1])
        best = np.argsort(-after.data[where], kind="stable")[:width]
        near[item, : len(best)] = after.indices[where][best]
        share[item, : len(best)] = after.data[where][best]
    return Neighbours(Near(near, share, place), items)


def _marks(places: NDArray[np.int64], weight: Floats, items: int) -> Any:
    """(rows, items) the weight of the places at which each row holds an item."""
    rows, at = np.nonzero(places >= 0)
    entries = (weight[at].astype(np.float64), (rows, places[rows, at]))
    return sparse.csr_matrix(entries, shape=(len(places), items))


def alike(texts: Floats, place: Floats) -> Compared:
    """Items whose texts say nearly the same.

    Args:
        texts: (items, width), of length 1.
        place: (length,) weight of a history's places.
    """
    return Compared(Vectors(texts, texts, place))


def texts_of(frozen: Frozen, layers: tuple[int, ...], width: int) -> Floats:
    """(items, width) vectors of length 1 of what the items' texts say: less their mean, along the
    directions in which they differ most."""
    said = [frozen.descriptions.get(name, name) for name in frozen.outputs]
    found = frozen.source.features(said, layers).astype(np.float64)
    found -= found.mean(0)
    _, directions = np.linalg.eigh(found.T @ found)
    kept = found @ directions[:, ::-1][:, : min(width, found.shape[1])]
    return (kept / np.maximum(np.linalg.norm(kept, axis=1, keepdims=True), 1e-9)).astype(np.float32)


def parted(rows: Choices) -> tuple[Choices, Choices]:
    """The earlier rows, and the latest."""
    aside = min(round(_ASIDE * len(rows)), _MOST_ASIDE, max(1, _CELLS // rows.items))
    return rows.take(slice(0, len(rows) - aside)), rows.take(slice(len(rows) - aside, None))


def fitted(frozen: Frozen, rows: Choices, makes: Sequence[Make]) -> ClosedFit:
    """The model of parts that are weighed on the latest rows and made of all.

    Args:
        frozen: Validation rows to score.
        rows: Training rows.
        makes: The parts beside how popular items are.
    """
    earlier, latest = parted(rows)
    weights = np.array([1.0, 0.0, *(1.0 for _ in makes)])
    if len(latest) >= _FEWEST:
        weights = weighed([*popular(earlier), *(make(earlier) for make in makes)], latest)
    parts: list[Part] = [*popular(rows), *(make(rows) for make in makes)]
    bias, near, vectors = _summed(parts, weights)
    model = made_of(bias, rows.seen.shape[1], near, vectors)
    held = table_of(frozen, frozen.validation).astype(np.int64)
    logits = scored(parts, weights, held)
    return ClosedFit(logits, np.empty((0, rows.items), np.float32), made=(model, wordless()))


def scored(parts: Sequence[Part], weights: Doubles, seen: NDArray[np.int64]) -> Floats:
    """(rows, items) the weighted sum of parts."""
    pieces = [seen[at : at + _ROWS] for at in range(0, len(seen), _ROWS)]
    found = [
        sum(np.float32(w) * part.scores(piece) for w, part in zip(weights, parts, strict=True))
        for piece in pieces
    ]
    return np.concatenate(found).astype(np.float32)


def weighed(parts: Sequence[Part], rows: Choices) -> Doubles:
    """(parts,) the weights that make the rows likeliest.

    Args:
        parts: The first two from `popular`; the weight of the second may be negative.
        rows: That no part was made of.
    """
    stack = np.stack([part.scores(rows.seen) for part in parts]).astype(np.float64)
    right = rows.right
    there = right >= 0
    at = np.maximum(right, 0)
    open_to = rows.masked(np.zeros(stack.shape[1:], np.float32))
    named_parts = np.take_along_axis(stack, at[None], 2)

    def loss(weights: Doubles) -> tuple[float, Doubles]:
        logits = np.tensordot(weights, stack, 1) + open_to
        total = _log_sum(logits)
        named = np.where(there, np.take_along_axis(logits, at, 1), -np.inf)
        best = _log_sum(named)
        share = np.exp(named - best[:, None])
        value = float((total - best).mean()) + _PENALTY * float(weights @ weights)
        expected = np.exp(logits - total[:, None])
        asked = np.tensordot(stack, expected, ([1, 2], [0, 1]))
        said = np.tensordot(named_parts, share, ([1, 2], [0, 1]))
        return value, (asked - said) / len(right) + 2 * _PENALTY * weights

    start = np.array([1.0, 0.0, *([1.0] * (len(parts) - 2))])
    bounds = [(0.0, None), (None, None), *([(0.0, None)] * (len(parts) - 2))]
    found: Any = minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B")
    return np.asarray(found.x, np.float64)


def _log_sum(wide: Doubles) -> Doubles:
    """(rows,) log of the sum of exponentials."""
    return np.asarray(logsumexp(wide, axis=1), np.float64)


def _summed(parts: Sequence[Part], weights: Doubles) -> tuple[Floats, Near | None, list[Vectors]]:
    """The parts with their weights multiplied in, as the model takes them."""
    bias = np.float32(0.0)
    near: Near | None = None
    vectors: list[Vectors] = []
    for part, weight in zip(parts, weights.astype(np.float32), strict=True):
        if isinstance(part, Constant):
            bias = bias + weight * part.values
        elif isinstance(part, Neighbours):
            near = Near(part.near.items, weight * part.near.share, part.near.place)
        elif isinstance(part, Compared):
            one = part.vectors
            vectors.append(Vectors(one.given, weight * one.wanted, one.place))
    return np.asarray(bias, np.float32), near, vectors

"""Similar items: those whose texts say nearly what the history's texts say; nobody need have chosen
them yet.

logits = w · mean over the history of cos(t_j, t_i), and how popular items are: see `tune.choices`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge

from sartor.tune.api import METHODS, Dimension, Reads, Real, arrays_alone
from sartor.tune.choices import (
    Choices,
    Compared,
    Decay,
    Most,
    alike,
    choices_of,
    decayed,
    fitted,
    texts_of,
)
from sartor.tune.frozen import ClosedFit, Frozen, Point


@METHODS.add  # pyright: ignore[reportArgumentType]  # it opens no model
@dataclass(frozen=True, slots=True)
class SimilarItems:
    """Compares the items' texts, as the backbone reads them."""

    reads: ClassVar[Reads] = "activations"
    rung: ClassVar[int | None] = 3
    items: ClassVar[Literal["beside"]] = "beside"

    decay: Decay = 0.9
    """Weight of an item of the history against that of the next newer one."""
    dimensions: Annotated[int, Ge(1)] = 64
    """Of the space that texts are compared in: those along which they differ most."""
    most: Most = 100
    """Items of a history that count, the newest."""

    shipped = staticmethod(arrays_alone)

    @staticmethod
    def fit_all(frozen: Frozen, grid: Sequence[Point]) -> list[ClosedFit]:
        rows = choices_of(frozen)
        return [_fit(frozen, rows, point) for point in grid]

    @staticmethod
    def portfolio() -> Sequence[Mapping[str, Any]]:
        return [{"layers": [layer], "decay": decay} for layer in (-1, -2) for decay in (0.7, 0.9)]

    @staticmethod
    def space() -> Mapping[str, Dimension]:
        return {"decay": Real(0.3, 1.0)}


def _fit(frozen: Frozen, rows: Choices, point: Point) -> ClosedFit:
    how: SimilarItems = point.method
    texts = texts_of(frozen, point.layers, how.dimensions)
    place = decayed(how.decay, rows.seen.shape[1], how.most)

    def make(_: Choices) -> Compared:
        return alike(texts, place)

    return fitted(frozen, rows, [make])

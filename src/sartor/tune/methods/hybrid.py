"""Hybrid: neighbours, similar texts and two towers at once, each believed as far as the latest
training rows bear it out.

Counts know what goes with what, texts know items that nobody chose yet, towers know the order in
which things are chosen; see `tune.choices` for how their weights are found. Burke 2002,
doi:10.1023/A:1021240730564
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le

from sartor.tune.api import METHODS, Dimension, Reads, Real, Whole, arrays_alone
from sartor.tune.choices import (
    Choices,
    Compared,
    Decay,
    Most,
    alike,
    choices_of,
    decayed,
    fitted,
    neighbours,
    texts_of,
)
from sartor.tune.frozen import ClosedFit, Frozen, Point
from sartor.tune.towers import Schooling, labour, towers


@METHODS.add  # pyright: ignore[reportArgumentType]  # it opens no model
@dataclass(frozen=True, slots=True)
class Hybrid:
    """Adds up what counts, texts and towers say."""

    reads: ClassVar[Reads] = "activations"
    rung: ClassVar[int | None] = 6
    items: ClassVar[Literal["beside"]] = "beside"

    decay: Decay = 0.9
    """Weight of an item of the history against that of the next newer one, for counts and texts."""
    shrinkage: Annotated[float, Ge(0)] = 5.0
    """As of `neighbours`."""
    width: Annotated[int, Ge(2), Le(512)] = 32
    """Numbers of a tower's vector."""
    epochs: Annotated[int, Ge(1), Le(200)] = 10
    """Passes of the towers over the training rows."""
    rate: Annotated[float, Gt(0), Le(1)] = 0.01
    """The towers' learning rate at the start; it falls to 0."""
    own_decay: Annotated[float, Ge(0)] = 0.3
    """How strongly an item's own part of a tower is drawn to 0."""
    dimensions: Annotated[int, Ge(1)] = 64
    """Of the texts: those along which they differ most."""
    most: Most = 50
    """Items of a history that count, the newest."""

    shipped = staticmethod(arrays_alone)

    @staticmethod
    def fit_all(frozen: Frozen, grid: Sequence[Point]) -> list[ClosedFit]:
        rows = choices_of(frozen)
        return [_fit(frozen, rows, point) for point in grid]

    @staticmethod
    def operations(rows: int, outputs: int) -> float:
        return labour(rows, outputs)

    @staticmethod
    def portfolio() -> Sequence[Mapping[str, Any]]:
        return [{"decay": 0.7, "shrinkage": shrinkage} for shrinkage in (5.0, 20.0)]

    @staticmethod
    def space() -> Mapping[str, Dimension]:
        return {
            "decay": Real(0.3, 1.0),
            "shrinkage": Real(0.5, 100.0, log=True),
            "width": Whole(8, 128, log=True),
            "epochs": Whole(2, 40, log=True),
            "own_decay": Real(0.01, 3.0, log=True),
        }


def _fit(frozen: Frozen, rows: Choices, point: Point) -> ClosedFit:
    m: Hybrid = point.method
    texts = texts_of(frozen, point.layers, m.dimensions)
    place = decayed(m.decay, rows.seen.shape[1], m.most)
    school = Schooling(m.width, m.epochs, m.rate, m.own_decay, m.most, point.seed)

    def by_text(_: Choices) -> Compared:
        return alike(texts, place)

    counted = partial(neighbours, decay=m.decay, shrinkage=m.shrinkage, most=m.most)
    return fitted(frozen, rows, [counted, by_text, partial(towers, texts=texts, how=school)])

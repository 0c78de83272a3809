"""Two towers: a history and an item each become a vector; what was chosen lies near. Texts and an
item's own part are learnt together, so that an item which nobody chose yet is told by its text.

See `tune.towers` for the equation and its sources.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le

from sartor.tune.api import METHODS, Dimension, Reads, Real, Whole, arrays_alone
from sartor.tune.choices import Most, choices_of, fitted, texts_of
from sartor.tune.frozen import ClosedFit, Frozen, Point
from sartor.tune.towers import Schooling, labour, towers


@METHODS.add  # pyright: ignore[reportArgumentType]  # it opens no model
@dataclass(frozen=True, slots=True)
class TwoTower:
    """Learns vectors of items from what was chosen after what."""

    reads: ClassVar[Reads] = "activations"
    rung: ClassVar[int | None] = 5
    items: ClassVar[Literal["beside"]] = "beside"

    width: Annotated[int, Ge(2), Le(512)] = 32
    """Numbers of a vector."""
    epochs: Annotated[int, Ge(1), Le(200)] = 10
    """Passes over the training rows."""
    rate: Annotated[float, Gt(0), Le(1)] = 0.01
    """Learning rate at the start; it falls to 0."""
    own_decay: Annotated[float, Ge(0)] = 0.3
    """How strongly an item's own part is drawn to 0, which leaves its text."""
    dimensions: Annotated[int, Ge(1)] = 64
    """Of the texts: those along which they differ most."""
    most: Most = 50
    """Items of a history that count, the newest."""

    shipped = staticmethod(arrays_alone)

    @staticmethod
    def fit_all(frozen: Frozen, grid: Sequence[Point]) -> list[ClosedFit]:
        rows = choices_of(frozen)
        found: list[ClosedFit] = []
        for point in grid:
            texts = texts_of(frozen, point.layers, point.method.dimensions)
            m: TwoTower = point.method
            how = Schooling(m.width, m.epochs, m.rate, m.own_decay, m.most, point.seed)
            make = partial(towers, texts=texts, how=how)
            found.append(fitted(frozen, rows, [make]))
        return found

    @staticmethod
    def operations(rows: int, outputs: int) -> float:
        return labour(rows, outputs)

    @staticmethod
    def portfolio() -> Sequence[Mapping[str, Any]]:
        return [{"epochs": epochs} for epochs in (10, 5)]

    @staticmethod
    def space() -> Mapping[str, Dimension]:
        return {
            "width": Whole(8, 128, log=True),
            "epochs": Whole(2, 40, log=True),
            "rate": Real(1e-3, 0.05, log=True),
            "own_decay": Real(0.01, 3.0, log=True),
        }

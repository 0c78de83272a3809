"""Neighbours: items that are chosen after those of the history, by counts alone; no text is read.

The rival that learnt recommenders often do not beat: Ferrari Dacrema et al. 2019,
https://arxiv.org/abs/1907.06902. See `tune.choices` for the equation. An item that no training row
holds has no neighbours, and is no one's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge

from sartor.tune.api import METHODS, Dimension, Reads, Real, arrays_alone
from sartor.tune.choices import Decay, Most, choices_of, fitted, neighbours
from sartor.tune.frozen import ClosedFit, Frozen, Point


@METHODS.add  # pyright: ignore[reportArgumentType]  # it opens no model
@dataclass(frozen=True, slots=True)
class Neighbours:
    """Counts what was chosen after what."""

    reads: ClassVar[Reads] = "activations"
    rung: ClassVar[int | None] = 2
    items: ClassVar[Literal["alone"]] = "alone"

    decay: Decay = 0.9
    """Weight of an item of the history against that of the next newer one."""
    shrinkage: Annotated[float, Ge(0)] = 5.0
    """Added below the fraction: pairs that few rows hold count less."""
    most: Most = 100
    """Items of a history that count, the newest."""

    shipped = staticmethod(arrays_alone)

    @staticmethod
    def fit_all(frozen: Frozen, grid: Sequence[Point]) -> list[ClosedFit]:
        rows = choices_of(frozen)
        hows: list[Neighbours] = [point.method for point in grid]
        return [
            fitted(
                frozen,
                rows,
                [partial(neighbours, decay=m.decay, shrinkage=m.shrinkage, most=m.most)],
            )
            for m in hows
        ]

    @staticmethod
    def portfolio() -> Sequence[Mapping[str, Any]]:
        return [
            {"decay": decay, "shrinkage": shrinkage}
            for decay in (0.7, 0.9)
            for shrinkage in (5.0, 20.0)
        ]

    @staticmethod
    def space() -> Mapping[str, Dimension]:
        return {"decay": Real(0.3, 1.0), "shrinkage": Real(0.5, 100.0, log=True)}

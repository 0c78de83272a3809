"""Popular: what is chosen most, whatever somebody chose before. The baseline of any recommendation.

logits_i = w · log(1 + n_i) + w' · [n_i = 0],   n_i how often training rows chose i

See `tune.choices` for how the weights are found.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from sartor.tune.api import METHODS, Dimension, Reads, arrays_alone
from sartor.tune.choices import choices_of, fitted
from sartor.tune.frozen import ClosedFit, Frozen, Point


@METHODS.add  # pyright: ignore[reportArgumentType]  # it opens no model
@dataclass(frozen=True, slots=True)
class Popular:
    """Counts what was chosen."""

    reads: ClassVar[Reads] = "activations"
    rung: ClassVar[int | None] = 1
    items: ClassVar[Literal["alone"]] = "alone"

    shipped = staticmethod(arrays_alone)

    @staticmethod
    def fit_all(frozen: Frozen, grid: Sequence[Point]) -> list[ClosedFit]:
        rows = choices_of(frozen)
        return [fitted(frozen, rows, []) for _ in grid]

    @staticmethod
    def portfolio() -> Sequence[Mapping[str, Any]]:
        return [{}]

    @staticmethod
    def space() -> Mapping[str, Dimension]:
        return {}

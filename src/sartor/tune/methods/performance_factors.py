"""Performance factors: right and wrong answers to every skill, and to all; recent ones count more.

logit = easy_i + Σ_d c_d · (log(1 + R_d), log(1 + W_d)) + Σ_d c_ds · (the same of the item's skill)

Pavlik, Cen and Koedinger 2009. With logarithms and totals it leads on data of moderate size, and
deep tracing on large ones: Gervet et al. 2020, Journal of Educational Data Mining 12(3). See
`tune.tracing` for how it is found.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Lt

from sartor.tune.api import METHODS, Dimension, Reads, Real, arrays_alone
from sartor.tune.frozen import ClosedFit, Frozen, Point
from sartor.tune.tracing import Tracing, fitted


@METHODS.add  # pyright: ignore[reportArgumentType]  # it opens no model
@dataclass(frozen=True, slots=True)
class PerformanceFactors:
    """Counts right and wrong answers of each skill."""

    reads: ClassVar[Reads] = "activations"
    rung: ClassVar[int | None] = 2
    items: ClassVar[Literal["alone"]] = "alone"
    traces: ClassVar[Literal[True]] = True

    own: Annotated[float, Ge(0)] = 1.0
    """Strength with which how easy an item is is drawn to the mean of its skill."""
    recent: Annotated[float, Gt(0), Lt(1)] = 0.8
    """Weight of an answer against that of the next newer one, where recent ones count more."""

    shipped = staticmethod(arrays_alone)

    @staticmethod
    def fit_all(frozen: Frozen, grid: Sequence[Point]) -> list[ClosedFit]:
        hows = [Tracing(decays=(1.0, p.method.recent), own=p.method.own) for p in grid]
        return fitted(frozen, hows, [point.seed for point in grid])

    @staticmethod
    def portfolio() -> Sequence[Mapping[str, Any]]:
        return [{"own": own, "recent": recent} for own in (1.0, 0.3) for recent in (0.8, 0.6)]

    @staticmethod
    def space() -> Mapping[str, Dimension]:
        return {"own": Real(0.1, 30.0, log=True), "recent": Real(0.3, 0.95)}

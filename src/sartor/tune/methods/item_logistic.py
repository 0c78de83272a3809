"""Item logistic: how easy the item is, and how many answers of the learner were right and wrong.

logit = easy_i + a · log(1 + R) + b · log(1 + W)

The plainest model that knows both the item and the learner; what knows more must beat it. See
`tune.tracing` for how it is found.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge

from sartor.tune.api import METHODS, Dimension, Reads, Real, arrays_alone
from sartor.tune.frozen import ClosedFit, Frozen, Point
from sartor.tune.tracing import Tracing, fitted


@METHODS.add  # pyright: ignore[reportArgumentType]  # it opens no model
@dataclass(frozen=True, slots=True)
class ItemLogistic:
    """Counts right and wrong answers."""

    reads: ClassVar[Reads] = "activations"
    rung: ClassVar[int | None] = 1
    items: ClassVar[Literal["alone"]] = "alone"
    traces: ClassVar[Literal[True]] = True

    own: Annotated[float, Ge(0)] = 1.0
    """Strength with which how easy an item is is drawn to the mean of all."""

    shipped = staticmethod(arrays_alone)

    @staticmethod
    def fit_all(frozen: Frozen, grid: Sequence[Point]) -> list[ClosedFit]:
        hows = [Tracing(decays=(1.0,), by_skill=False, own=p.method.own) for p in grid]
        return fitted(frozen, hows, [point.seed for point in grid])

    @staticmethod
    def portfolio() -> Sequence[Mapping[str, Any]]:
        return [{"own": 1.0}]

    @staticmethod
    def space() -> Mapping[str, Dimension]:
        return {"own": Real(0.1, 30.0, log=True)}

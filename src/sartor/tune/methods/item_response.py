"""Item response: how able a learner is, in all and in every skill, as their answers make likeliest.

logit = easy_i + θ + δ_s + γ_s · log(1 + n_s)

An answer to a hard item says more for a learner than one to an easy item, which counts do not know.
Rasch 1960; with growth and skills the additive factors of Cen, Koedinger and Junker 2006, learners
being drawn from a population, so that new ones are nothing special. See `tasks.mastery.model`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le

from sartor.tune.api import METHODS, Dimension, Reads, Real, arrays_alone
from sartor.tune.frozen import ClosedFit, Frozen, Point
from sartor.tune.tracing import Tracing, fitted


@METHODS.add  # pyright: ignore[reportArgumentType]  # it opens no model
@dataclass(frozen=True, slots=True)
class ItemResponse:
    """Finds the likeliest ability of a learner."""

    reads: ClassVar[Reads] = "activations"
    rung: ClassVar[int | None] = 3
    items: ClassVar[Literal["alone"]] = "alone"
    traces: ClassVar[Literal[True]] = True

    own: Annotated[float, Ge(0)] = 1.0
    """Strength with which how easy an item is is drawn to the mean of its skill."""
    fade: Annotated[float, Gt(0), Le(1)] = 0.97
    """Weight of an answer against that of the next newer one: abilities change."""
    steps: Annotated[int, Ge(1), Le(50)] = 6
    """Towards the likeliest abilities."""

    shipped = staticmethod(arrays_alone)

    @staticmethod
    def fit_all(frozen: Frozen, grid: Sequence[Point]) -> list[ClosedFit]:
        methods: list[ItemResponse] = [point.method for point in grid]
        hows = [Tracing(steps=m.steps, fade=m.fade, own=m.own) for m in methods]
        return fitted(frozen, hows, [point.seed for point in grid])

    @staticmethod
    def portfolio() -> Sequence[Mapping[str, Any]]:
        return [{"own": own, "fade": fade} for own in (1.0, 0.3) for fade in (0.97, 1.0)]

    @staticmethod
    def space() -> Mapping[str, Dimension]:
        return {"own": Real(0.1, 30.0, log=True), "fade": Real(0.8, 1.0)}

"""Explanatory response: item response and recent answers at once, and items as easy as their texts
say.

logit = x_i · b + m_s + d_i + θ + δ_s + γ_s · log(1 + n_s) + Σ c · (log(1 + R), log(1 + W)) of the
        answers that count more the more recent they are

x_i what the backbone makes of the item's text: an item that nobody answered yet has a chance of its
own. De Boeck and Wilson 2004, doi:10.1007/978-1-4757-3990-9; see `tune.tracing`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt

from sartor.tune.api import METHODS, Dimension, Reads, Real, arrays_alone
from sartor.tune.frozen import ClosedFit, Frozen, Point
from sartor.tune.tracing import Tracing, fitted, item_texts


@METHODS.add  # pyright: ignore[reportArgumentType]  # it opens no model
@dataclass(frozen=True, slots=True)
class ExplanatoryResponse:
    """Reads the items' texts beside their answers."""

    reads: ClassVar[Reads] = "activations"
    rung: ClassVar[int | None] = 4
    items: ClassVar[Literal["beside"]] = "beside"
    traces: ClassVar[Literal[True]] = True

    own: Annotated[float, Ge(0)] = 3.0
    """Strength with which how easy an item is is drawn to what its skill and its text say."""
    fade: Annotated[float, Gt(0), Le(1)] = 0.97
    """As of `item_response`."""
    recent: Annotated[float, Gt(0), Lt(1)] = 0.6
    """As of `performance_factors`."""
    steps: Annotated[int, Ge(1), Le(50)] = 6
    """As of `item_response`."""

    shipped = staticmethod(arrays_alone)

    @staticmethod
    def fit_all(frozen: Frozen, grid: Sequence[Point]) -> list[ClosedFit]:
        methods: list[ExplanatoryResponse] = [point.method for point in grid]
        hows = [
            Tracing(
                decays=(m.recent,),
                steps=m.steps,
                fade=m.fade,
                own=m.own,
                texts=item_texts(frozen, point.layers),
            )
            for m, point in zip(methods, grid, strict=True)
        ]
        return fitted(frozen, hows, [point.seed for point in grid])

    @staticmethod
    def portfolio() -> Sequence[Mapping[str, Any]]:
        return [{"own": own, "fade": fade} for own in (3.0, 1.0) for fade in (0.97, 1.0)]

    @staticmethod
    def space() -> Mapping[str, Dimension]:
        return {
            "own": Real(0.1, 50.0, log=True),
            "fade": Real(0.8, 1.0),
            "recent": Real(0.3, 0.95),
        }

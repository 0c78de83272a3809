"""Gradient-boosted trees on the columns: what a table is usually best learnt with; no text is read.

F_m(x) = F_{m−1}(x) + rate · tree_m(x),  tree_m the leaf-wise fit of the loss's gradient in 255 bins
Friedman 2001, doi:10.1214/aos/1013203451; Ke et al. 2017 (LightGBM); scikit-learn's
HistGradientBoostingClassifier grows them. How many there should be, a part of the training rows
says that is set aside: where its log-loss is least. So many are then grown on all of them. The
validation rows had no say, so what they tell of the trees is what new rows will.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray

from sartor.core.protocols import Floats
from sartor.tasks.tabular_text.trees import of_nodes
from sartor.tune.api import METHODS, Dimension, Reads, Real, Whole, arrays_alone
from sartor.tune.frozen import ClosedFit, Frozen, Point
from sartor.tune.fused import table_of, wordless
from sartor.tune.heads import refuse_one_label

_PATIENCE = 20
"""Trees without a lower log-loss of the rows set aside before growing ends."""
_ASIDE = 0.15
"""Share of the training rows that says how many trees there should be."""
_FEWEST = 40
"""Training rows below which none are set aside: so many trees are grown as were seen to do."""
_UNTOLD = 60
_ONE_THREAD = 20_000
"""Rows below which threads wait for one another longer than they work."""


@METHODS.add  # pyright: ignore[reportArgumentType]  # it opens no model
@dataclass(frozen=True, slots=True)
class Boosting:
    """Grows trees on the encoded columns."""

    reads: ClassVar[Reads] = "activations"
    rung: ClassVar[int | None] = 4
    columns: ClassVar[Literal["alone"]] = "alone"

    shrinkage: Annotated[float, Gt(0), Le(1)] = 0.05
    """What a tree's leaves are multiplied with: less learns slower and forgets less."""
    leaves: Annotated[int, Ge(2), Le(255)] = 15
    """Leaves of a tree, at most."""
    least_rows: Annotated[int, Ge(1)] = 20
    """Training rows in a leaf, at least."""
    l2: Annotated[float, Ge(0)] = 1.0
    """Strength of the L2 penalty on leaves."""
    rounds: Annotated[int, Ge(1), Le(5000)] = 500
    """Trees of each class, at most."""

    shipped = staticmethod(arrays_alone)

    @staticmethod
    def fit_all(frozen: Frozen, grid: Sequence[Point]) -> list[ClosedFit]:
        refuse_one_label(frozen.labels)
        rows = table_of(frozen, frozen.train), table_of(frozen, frozen.validation)
        return [_grown(frozen, rows, point) for point in grid]

    @staticmethod
    def portfolio() -> Sequence[Mapping[str, Any]]:
        return [{"leaves": leaves} for leaves in (8, 4, 16, 31)]

    @staticmethod
    def space() -> Mapping[str, Dimension]:
        return {
            "shrinkage": Real(0.01, 0.3, log=True),
            "leaves": Whole(3, 63, log=True),
            "least_rows": Whole(2, 100, log=True),
            "l2": Real(1e-3, 100.0, log=True),
        }


def _grown(frozen: Frozen, rows: tuple[Floats, Floats], point: Point) -> ClosedFit:
    train, held = rows
    present, labels = np.unique(frozen.labels, return_inverse=True)
    weight = np.array(point.weights)[frozen.labels]
    grower = _grower(point, (train, labels, weight))
    rounds = [[tree.nodes for tree in each] for each in grower._predictors]
    share, base = _shares(present, np.ravel(grower._baseline_prediction), len(frozen.outputs))
    model = of_nodes(rounds, share, base, train.shape[1])
    with torch.no_grad():
        logits = [model(torch.from_numpy(x)).numpy() for x in (held, train)]
        absent = np.setdiff1d(np.arange(len(frozen.outputs)), present)
        if len(absent):
            # Half a row's share of probability, as heads give to a class that was never seen.
            level = np.logaddexp.reduce(logits[1][:, present], axis=1).mean()
            model.base[absent] = float(level + np.log(0.5 / len(train)))
            logits = [model(torch.from_numpy(x)).numpy() for x in (held, train)]
    return ClosedFit(logits[0], logits[1], made=(model, wordless()))


def _grower(point: Point, rows: tuple[Floats, NDArray[Any], NDArray[Any]]) -> Any:
    """scikit-learn's, fitted on all rows with as many trees as those set aside want."""
    # It takes a second to import, and only this method needs it.
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    train, labels, weight = rows
    m: Boosting = point.method
    settings: dict[str, Any] = {
        "learning_rate": m.shrinkage,
        "max_leaf_nodes": m.leaves,
        "min_samples_leaf": m.least_rows,
        "l2_regularization": m.l2,
        "random_state": point.seed,
        "early_stopping": False,
    }
    # Each label must have a row on either side.
    each = np.bincount(labels)
    enough = len(labels) >= _FEWEST and each.min() > 1 and len(each) <= _ASIDE * len(labels)
    count = min(_UNTOLD, m.rounds)
    with threadpool_limits(1 if len(labels) < _ONE_THREAD else None, user_api="openmp"):
        if enough:
            stopping = {"early_stopping": True, "validation_fraction": _ASIDE}
            first: Any = HistGradientBoostingClassifier(
                max_iter=m.rounds, n_iter_no_change=_PATIENCE, **(settings | stopping)
            )
            first.fit(train, labels, sample_weight=weight)
            # The first score is that of no tree at all; scores are negative losses.
            count = max(1, int(np.argmax(first.validation_score_)))
        last: Any = HistGradientBoostingClassifier(max_iter=count, **settings)
        return last.fit(train, labels, sample_weight=weight)


def _shares(
    present: NDArray[Any], raw: NDArray[np.float64], outputs: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(kinds, outputs) and (outputs,): what sums of trees, and no tree, add to the logits."""
    share = np.zeros((len(raw), outputs))
    if len(raw) == 1:
        share[0, present] = (-0.5, 0.5)
    else:
        share[np.arange(len(raw)), present] = 1.0
    return share, raw @ share

"""A head of one user's own: logistic regression that is pulled towards the head all users share.

min over W, b of  Σ_i s_i · −log softmax((W x_i + b) / T)[y_i] + λ/2 · ‖(W, b) − (W_g, b_g)‖²

A user says little, so most of what their head knows must come from the shared one (W_g, b_g): λ is
how much. It is chosen by cross-validation among a grid whose first value is infinite, the shared
head itself. The distance is measured on features that were centred and brought to a mean square
length of 1, so that a λ means the same for every model, and (W, b) may be far from (W_g, b_g) only
in directions that the user's own texts have.

Regularised multi-task learning: Evgeniou & Pontil 2004, https://doi.org/10.1145/1014052.1014067;
the penalty towards a starting point: Li et al. 2018 (L2-SP), https://arxiv.org/abs/1802.01483
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from sartor.core.errors import DataError, SettingError
from sartor.core.protocols import Floats

GRID = (math.inf, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01)
"""λ, strongest first: of two that do equally well the stronger is taken."""
ALL_OUT = 20
"""Up to so many rows each is left out by itself; more are left out in ten parts."""
_FOLDS = 10
_STEPS = 500
_SAME = 1e-9
Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Shared:
    """The head that all users share, and how its logits are read.

    Args:
        weight: (outputs, features).
        bias: (outputs,).
        temperature: The decision rule's, above 0: probabilities are softmax(logits / temperature).
    """

    weight: Floats
    bias: Floats
    temperature: float = 1.0


@dataclass(frozen=True, slots=True)
class Said:
    """What one user said of texts.

    Args:
        features: (rows, features), what the head reads.
        labels: (rows,) in [0, outputs).
        weights: (rows,) how much each row counts, above 0.
    """

    features: Floats
    labels: NDArray[np.int64]
    weights: Doubles


@dataclass(frozen=True, slots=True)
class PersonalHead:
    """A user's head.

    Args:
        weight: (outputs, features), in the place of the shared one.
        bias: (outputs,).
        strength: λ; infinite where nothing did better than the shared head, which this then is.
        losses: λ to mean log-loss of rows that were left out of the fit, over the whole grid.
    """

    weight: Floats
    bias: Floats
    strength: float
    losses: dict[float, float]


def fit_personal(shared: Shared, said: Said, grid: Sequence[float] = GRID) -> PersonalHead:
    """Fit a user's head; the strength of the pull is chosen on rows that were left out.

    The problem is strictly convex and the folds follow the order of the rows, so the same rows give
    the same head. One label alone is enough: the pull bounds what it moves.

    Args:
        shared: Where the head starts from.
        said: At least two rows.
        grid: Values of λ, strongest first, above 0.

    Raises:
        DataError: If there are fewer than two rows.
        SettingError: If an activation is not a finite number, or a λ is not positive.
    """
    if len(said.labels) < 2:
        raise DataError(
            f"A head of one's own takes at least 2 rows. Got {len(said.labels)}.",
            fix="wait for more feedback.",
        )
    if odd := [value for value in grid if not value > 0]:
        raise SettingError(f"λ must be above 0. Got {odd[0]}.", fix="write e.g. 0.1.")
    # A user's products are small: several threads would wait for one another, ten times as long
    # where other processes want the cores too.
    with threadpool_limits(1, user_api="blas"):
        problem = _Problem.of(shared, said)
        losses = dict(zip(grid, problem.left_out(grid).tolist(), strict=True))
        least = min(losses.values())
        strength = next(value for value in grid if losses[value] <= least + _SAME)
        if math.isinf(strength):
            return PersonalHead(shared.weight, shared.bias, strength, losses)
        weight, bias = problem.unfolded(problem.solve(np.ones(len(said.labels), bool), strength))
    return PersonalHead(
        (shared.weight + weight).astype(np.float32),
        (shared.bias + bias).astype(np.float32),
        strength,
        losses,
    )


@dataclass(frozen=True, slots=True)
class _Problem:
    """Rows in as few directions as they span, and what the shared head says of them.

    Args:
        rows: (rows, directions + 1): along an orthonormal basis, and a column of ones.
        basis: (features, directions).
        centre: (features,).
        length: Root mean square length of the centred features.
        start: (rows, outputs), the shared head's logits over the temperature.
    """

    rows: Doubles
    basis: Doubles
    centre: Doubles
    length: float
    start: Doubles
    labels: NDArray[np.int64]
    weights: Doubles
    temperature: float

    @staticmethod
    def of(shared: Shared, said: Said) -> "_Problem":
        features = np.asarray(said.features, np.float64)
        if bad := int((~np.isfinite(features)).any(1).sum()):
            raise SettingError(
                f"The activations of {bad} of {len(features)} texts are not finite numbers.",
                fix="build the bundle again: its graph overflows on these texts.",
            )
        centre = features.mean(0)
        away = features - centre
        length = float(np.sqrt(np.square(away).sum(1).mean())) or 1.0
        # W − W_g is a sum of the rows (the representer theorem), so their span is enough.
        left, sizes, right = np.linalg.svd(away / length, full_matrices=False)
        kept = sizes > 1e-6 * max(float(sizes[0]), 1e-12)
        along = left[:, kept] * sizes[kept]
        start = features @ shared.weight.T.astype(np.float64) + shared.bias
        return _Problem(
            rows=np.hstack([along, np.ones((len(along), 1))]),
            basis=right[kept].T,
            centre=centre,
            length=length,
            start=start / shared.temperature,
            labels=said.labels,
            weights=said.weights,
            temperature=shared.temperature,
        )

    def left_out(self, grid: Sequence[float]) -> Doubles:
        """(grid,) mean weighted log-loss of rows by heads that did not see them.

        Centre and length are those of all rows: they tell nothing of labels.
        """
        count = len(self.labels)
        folds = np.arange(count) % (count if count <= ALL_OUT else _FOLDS)
        totals = np.zeros(len(grid))
        for fold in range(int(folds.max()) + 1):
            kept = folds != fold
            found: Doubles | None = None
            for at, strength in enumerate(grid):
                # The path from the strongest pull on: each solution starts the next.
                found = self.solve(kept, strength, found)
                logits = self.start[~kept] + self.rows[~kept] @ found.T
                losses = _losses(logits, self.labels[~kept])
                totals[at] += losses @ self.weights[~kept]
        return totals / self.weights.sum()

    def solve(
        self, kept: NDArray[np.bool_], strength: float, near: Doubles | None = None
    ) -> Doubles:
        """(outputs, directions + 1): what is added to the shared head.

        Args:
            kept: (rows,) which rows are fitted on.
            strength: λ.
            near: Where to start; nothing added when None.
        """
        shape = (self.start.shape[1], self.rows.shape[1])
        if math.isinf(strength):
            return np.zeros(shape)
        rows, start, labels = self.rows[kept], self.start[kept], self.labels[kept]
        weights, places = self.weights[kept], np.arange(int(kept.sum()))

        # Rows lie along their principal directions, so the Hessian is nearly diagonal: scaled by
        # its bound, all directions are alike steep, and some 20 steps are enough.
        steep = np.sqrt(strength + weights @ np.square(rows) / 4)

        def cost(flat: Doubles) -> tuple[float, Doubles]:
            added = flat.reshape(shape) / steep
            logits = start + rows @ added.T
            sums = _log_sum(logits)
            excess = np.exp(logits - sums[:, None])
            excess[places, labels] -= 1.0
            gradient = (excess * weights[:, None]).T @ rows + strength * added
            loss = float((sums - logits[places, labels]) @ weights)
            loss += strength / 2 * float(np.square(added).sum())
            return loss, (gradient / steep).ravel()

        guess = np.zeros(shape) if near is None else near * steep
        found = minimize(
            cost,
            guess.ravel(),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": _STEPS, "ftol": 1e-10, "gtol": 1e-6},
        )
        return np.asarray(found.x, np.float64).reshape(shape) / steep

    def unfolded(self, added: Doubles) -> tuple[Doubles, Doubles]:
        """The same on raw features and logits: (outputs, features) and (outputs,)."""
        weight = self.temperature * (added[:, :-1] @ self.basis.T) / self.length
        return weight, self.temperature * added[:, -1] - weight @ self.centre


def _log_sum(logits: Doubles) -> Doubles:
    top = logits.max(1)
    return top + np.log(np.exp(logits - top[:, None]).sum(1))


def _losses(logits: Doubles, labels: NDArray[np.int64]) -> Doubles:
    return _log_sum(logits) - logits[np.arange(len(labels)), labels]

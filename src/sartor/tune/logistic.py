"""Many logistic regressions on the same rows, solved together.

min over W, b of  C · Σ_i s_i · −log softmax(W x_i + b)[y_i] + ½‖W‖²        for each (C, s)

Problems differ in C and in the rows' weights s (class weights, and 0 where a fold leaves a row out)
and share x, so that one matrix product serves a block of them. Three things make it cheap:

- The rows are rotated once onto the eigenvectors of their Gram matrix. The Hessian, nearly
  C·h·XᵀX + I, is then nearly diagonal for every C at once, and its inverse starts the quasi-Newton
  steps (L-BFGS: Nocedal 1980, doi:10.1090/S0025-5718-1980-0572855-7): some 20 steps, not hundreds.
- With more features than rows, only as many directions as rows are left.
- The model is linear, so a line search needs no matrix product: logits move along a line too.

Matrix products are in float32, sums and parameters in float64. Two classes have one row of weights,
z = log-odds, as in scikit-learn; more have one row each.
"""

from dataclasses import dataclass, field
from typing import cast

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Singles = NDArray[np.float32]

_COLUMNS = 32
"""Logits a row in one block of problems: enough for matrix products at full speed."""
_MEMORY = 20
"""Steps that L-BFGS remembers."""
_STEPS = 600
"""Enough for separable rows under a weak penalty; past it the answer is as good as it got."""
_TOLERANCE = 1e-9
"""Expected decrease of the loss at which a problem is solved, as a share of it."""
_FLAT = 1e-6
"""Directions with less than this share of the largest deviation hold rounding, not data."""


@dataclass(frozen=True, slots=True)
class Rotated:
    """Rows in the basis of their principal directions, largest first, and a column of ones.

    Args:
        rows: (rows, directions + 1), float32.
        basis: (features, directions): x ≈ basis · row.
        spread: (directions + 1,) sum of squares of each column.
    """

    rows: Singles
    basis: Doubles
    spread: Doubles

    @staticmethod
    def of(standard: Singles) -> "Rotated":
        """Rotate standardised features, (rows, features)."""
        count, features = standard.shape
        if features <= count:
            squares, basis = np.linalg.eigh(standard.T @ standard)
            keep = squares > _FLAT**2 * max(float(squares[-1]), 1e-30)
            basis = basis[:, keep][:, ::-1]
        else:
            squares, left = np.linalg.eigh((standard @ standard.T).astype(np.float64))
            keep = squares > _FLAT**2 * max(float(squares[-1]), 1e-30)
            lengths = np.sqrt(squares[keep])
            basis = (standard.T @ (left[:, keep] / lengths).astype(np.float32))[:, ::-1]
        # Written in its place beside the ones: of many rows, a second copy would be felt.
        rows = np.ones((count, basis.shape[1] + 1), np.float32)
        np.matmul(standard, basis, out=rows[:, :-1])
        spread = np.einsum("nr,nr->r", rows, rows, dtype=np.float64)
        return Rotated(rows, basis.astype(np.float64), spread)


@dataclass(frozen=True, slots=True)
class Problems:
    """What is solved on one set of rows.

    Args:
        C: (problems,) inverse strength of the penalty.
        weights: (problems, rows) weight of each row in the loss, at least 0.
        labels: (rows,) in [0, classes).
        classes: At least 2.
        marks: (problems, rows) 1 or 0, where each problem is a question of its own, yes or no;
            `labels` and `classes` are not read then.
    """

    C: Doubles
    weights: Singles
    labels: NDArray[np.int64]
    classes: int
    marks: Singles | None = None

    @staticmethod
    def yes_or_no(C: Doubles, weights: Singles, marks: Singles) -> "Problems":
        """Each problem with marks of its own, (problems, rows): one label against the rest."""
        return Problems(C, weights, np.empty(0, np.int64), 2, marks)


def solve(rotated: Rotated, problems: Problems) -> tuple[Doubles, Doubles]:
    """Solve every problem.

    A problem's answer does not depend on the others but for rounding: a matrix product of another
    width adds up in another order.

    Returns:
        (problems, classes, features) weights and (problems, classes) biases. Two classes are
        symmetric, (−w/2, w/2), which softmax cannot tell from scikit-learn's one row w.
    """
    outputs = 1 if problems.classes == 2 else problems.classes
    weight, bias = _solved(rotated, problems, outputs)
    if outputs == 1:
        weight, bias = np.concatenate([-weight, weight], 1) / 2, np.hstack([-bias, bias]) / 2
    # Softmax does not see a constant added to all biases; scikit-learn's sum to zero.
    return weight, bias - bias.mean(1, keepdims=True)


def solve_yes_or_no(rotated: Rotated, problems: Problems) -> tuple[Doubles, Doubles]:
    """Solve problems with marks of their own.

    Returns:
        (problems, features) weights and (problems,) biases of the log-odds of yes.
    """
    weight, bias = _solved(rotated, problems, 1)
    return weight[:, 0], bias[:, 0]


def _solved(rotated: Rotated, problems: Problems, outputs: int) -> tuple[Doubles, Doubles]:
    """(problems, outputs, features) and (problems, outputs), as they come."""
    size = max(1, _COLUMNS // outputs)
    count = len(problems.C)
    solved = np.empty((count, outputs, rotated.rows.shape[1]))
    for start in range(0, count, size):
        part = slice(start, min(start + size, count))
        solved[part] = _Block.of(rotated, problems, part).run()
    weight = np.stack([each[:, :-1] @ rotated.basis.T for each in solved])
    return weight, solved[:, :, -1]


@dataclass(slots=True)
class _Block:
    """A few problems side by side. Axes: r directions, b problems, k outputs, n rows."""

    rows: Singles
    strength: Doubles  # (b,): C
    weights: Singles  # (n, b)
    target: Singles  # (n, k); (n, b) where each problem has marks of its own
    inverse: Doubles  # (r, b, k): about 1 / diagonal of the Hessian
    at: Doubles  # (r, b, k): the parameters
    logits: Singles  # (n, b, k)
    steps: list[tuple[Doubles, Doubles, Doubles]] = field(
        default_factory=list[tuple[Doubles, Doubles, Doubles]]
    )

    @staticmethod
    def of(rotated: Rotated, problems: Problems, part: slice) -> "_Block":
        count, columns = rotated.rows.shape
        strength = problems.C[part]
        weights = np.ascontiguousarray(problems.weights[part].T)
        hot, share, start, total = _starts(problems, part, weights)
        curved = (strength * total[:, 0] / count)[:, None] * share * (1 - share)
        hessian = rotated.spread[:, None, None] * curved
        hessian[:-1] += 1.0  # the bias is not penalised
        at = np.zeros((columns, *share.shape))
        at[-1] = start
        logits = np.broadcast_to(start.astype(np.float32), (count, *start.shape))
        inverse = 1.0 / np.maximum(hessian, 1e-30)
        return _Block(rotated.rows, strength, weights, hot, inverse, at, logits.copy())

    def run(self) -> Doubles:
        """(b, k, r) parameters of every problem."""
        gradient, loss = self._gradient()
        live = np.full(len(self.strength), True)
        for _ in range(_STEPS):
            direction = -self._newton(gradient)
            slope = _dot(gradient, direction)
            live &= -slope > _TOLERANCE * np.maximum(loss, 1e-30)
            if not live.any():
                break
            direction *= live[None, :, None]
            along = self._product(direction)
            length = self._search(along, direction, np.where(live, slope, 0.0))
            move = direction * length[None, :, None]
            self.at += move
            self.logits += along * length.astype(np.float32)[None, :, None]
            before = gradient
            gradient, loss = self._gradient()
            self._remember(move, gradient - before)
        return np.ascontiguousarray(self.at.transpose(1, 2, 0))

    def _product(self, parameters: Doubles) -> Singles:
        flat = parameters.reshape(len(parameters), -1).astype(np.float32)
        return (self.rows @ flat).reshape(len(self.rows), *parameters.shape[1:])

    def _gradient(self) -> tuple[Doubles, Doubles]:
        """(r, b, k) gradient, and (b,) loss with its penalty."""
        excess, losses = _residuals(self.logits, self.target)
        excess *= self.weights[:, :, None]
        flat = self.rows.T @ excess.reshape(len(excess), -1)
        found = flat.reshape(self.at.shape).astype(np.float64) * self.strength[None, :, None]
        found[:-1] += self.at[:-1]
        fit = np.einsum("nb,nb->b", losses, self.weights, dtype=np.float64)
        penalty = 0.5 * _dot(self.at[:-1], self.at[:-1])
        return found, self.strength * fit + penalty

    def _search(self, along: Singles, direction: Doubles, slope: Doubles) -> Doubles:
        """(b,) step lengths at which the slope has all but gone, from the logits alone."""
        bend = _dot(direction[:-1], direction[:-1])
        lean = _dot(self.at[:-1], direction[:-1])
        low, high = np.zeros_like(slope), np.full_like(slope, np.inf)
        low_slope, high_slope = slope.copy(), np.zeros_like(slope)
        length = np.where(slope < 0, 1.0, 0.0)
        for _ in range(12):
            excess, _ = _residuals(
                cast("Singles", self.logits + along * length.astype(np.float32)[None, :, None]),
                self.target,
            )
            pull = np.einsum("nbk,nbk->nb", excess, along)
            fit = np.einsum("nb,nb->b", pull, self.weights, dtype=np.float64)
            now = self.strength * fit + lean + length * bend
            short, far = now < 0.7 * slope, now > -0.3 * slope
            if not (short | far).any():
                break
            low, low_slope = np.where(short, length, low), np.where(short, now, low_slope)
            high, high_slope = np.where(far, length, high), np.where(far, now, high_slope)
            open_end = np.isinf(high)
            width = np.where(open_end, 0.0, high - low)
            gap = np.where(high_slope - low_slope > 0, high_slope - low_slope, 1.0)
            secant = low - low_slope * width / gap
            # Kept off the ends: a curve that bends sharply would trap the secant there.
            inside = np.clip(secant, low + 0.1 * width, high - 0.1 * width)
            length = np.where(short | far, np.where(open_end, 3.0 * length, inside), length)
        return length

    def _newton(self, gradient: Doubles) -> Doubles:
        """L-BFGS's two loops, for all problems at once."""
        found = _flat(gradient)
        shares: list[Doubles] = []
        for move, change, inverse in reversed(self.steps):
            share = inverse * _inner(move, found)
            found -= share[:, None] * change
            shares.append(share)
        found *= _flat(self.inverse)
        for (move, change, inverse), share in zip(self.steps, reversed(shares), strict=True):
            found += (share - inverse * _inner(change, found))[:, None] * move
        columns, problems, outputs = gradient.shape
        return found.reshape(problems, columns, outputs).transpose(1, 0, 2).copy()

    def _remember(self, move: Doubles, change: Doubles) -> None:
        move, change = _flat(move), _flat(change)
        curvature = _inner(move, change)
        # A solved problem did not move: its pair must not be used.
        inverse = np.where(curvature > 0, 1.0 / np.where(curvature > 0, curvature, 1.0), 0.0)
        self.steps = [*self.steps[-_MEMORY + 1 :], (move, change, inverse)]


def _starts(
    problems: Problems, part: slice, weights: Singles
) -> tuple[Singles, Doubles, Doubles, Doubles]:
    """Targets (n, k) or (n, b), shares of each output (b, k), the biases that they give, and the
    rows' weights in all (b, 1)."""
    count, classes = len(weights), problems.classes
    if problems.marks is not None:
        marks = np.ascontiguousarray(problems.marks[part].T)
        yes = np.einsum("nb,nb->b", weights, marks, dtype=np.float64)[:, None]
        total = np.maximum(weights.sum(0, dtype=np.float64)[:, None], 1e-30)
        share = np.clip(yes / total, 0.5 / count, 1 - 0.5 / count)
        return marks, share, np.log(share) - np.log1p(-share), total
    hot = np.eye(classes, dtype=np.float32)[problems.labels]
    mass = np.einsum("nb,nk->bk", weights, hot, dtype=np.float64)
    total = np.maximum(mass.sum(1, keepdims=True), 1e-30)
    share = np.clip(mass / total, 0.5 / count, 1 - 0.5 / count)
    start = np.log(share)
    if classes == 2:
        return hot[:, 1:], share[:, 1:], start[:, 1:] - start[:, :1], total
    return hot, share, start, total


def _flat(values: Doubles) -> Doubles:
    """(problems, parameters), a copy in which each problem's lie together: dot products are then
    BLAS's."""
    return values.transpose(1, 0, 2).reshape(values.shape[1], -1).copy()


def _inner(left: Doubles, right: Doubles) -> Doubles:
    return np.matmul(left[:, None, :], right[:, :, None])[:, 0, 0]


def _dot(left: Doubles, right: Doubles) -> Doubles:
    return np.einsum("rbk,rbk->b", left, right)


def _residuals(logits: Singles, target: Singles) -> tuple[Singles, Singles]:
    """(n, b, k) probability minus truth, and (n, b) log-loss."""
    if logits.shape[2] == 1:
        odds = logits[:, :, 0]
        small = np.exp(-np.abs(odds))
        chance = np.where(odds >= 0, 1.0, small) / (1.0 + small)
        losses = np.log1p(small) + np.maximum(odds, 0.0) - odds * target
        return cast("Singles", (chance - target)[:, :, None]), cast("Singles", losses)
    top = logits.max(2, keepdims=True)
    shares = np.exp(logits - top)
    total = shares.sum(2, keepdims=True)
    shares /= total
    chosen = np.einsum("nbk,nk->nb", logits, target)
    shares -= target[:, None, :]
    return shares, (np.log(total) + top)[:, :, 0] - chosen

"""Stacking: a regularised multinomial logistic regression on the members' logits.

logits(x) = Σ_k W_k · z_k(x) + b,   W_k: (classes, classes)
Wolpert 1992, doi:10.1016/S0893-6080(05)80023-1

Where the pool can only believe a member more or less, this can believe it about some classes, turn
what it mixes up, and take back a leaning. It has many more numbers to choose, so it needs rows and
a penalty: the penalty's strength is chosen by cross-validation within the rows that are given.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sartor.core.likelihood import losses
from sartor.core.protocols import Floats
from sartor.search.pool import Allowed, Doubles, Labels, choose
from sartor.tune.logistic import Problems, Rotated, solve

MOST_CLASSES = 20
"""Beyond, the matrices hold more numbers than any validation rows could choose."""
_STRENGTHS = (0.001, 0.01, 0.1, 1.0)
"""Inverse penalties on standardised logits."""
_ALONE = 0.1
_FOLDS = 5


@dataclass(frozen=True, slots=True)
class Stack:
    """Models with their matrices.

    Args:
        members: Positions of the models.
        matrices: (members, classes, classes): output by input.
        bias: (classes,).
    """

    members: list[int]
    matrices: Doubles
    bias: Doubles

    def logits(self, stack: Floats) -> Floats:
        """(models, rows, classes) logits to (rows, classes)."""
        chosen = np.asarray(stack[self.members], np.float64)
        return (np.einsum("koi,kni->no", self.matrices, chosen) + self.bias).astype(np.float32)


def choose_stack(stack: Floats, truth: Labels, allowed: Allowed = lambda _: True) -> Stack:
    """Pick members as the pool does, each after a regression of its own, and fit them together.

    Args:
        stack: (models, rows, classes) logits.
        truth: (rows,) class indices.
        allowed: As of `pool.choose`.
    """
    alone = [_fit(stack, truth, [k], _ALONE) for k in range(len(stack))]
    members = choose(np.stack([each.logits(stack) for each in alone]), truth, allowed).members
    return _fit(stack, truth, members, _strength(stack, truth, members))


def _fit(stack: Floats, truth: Labels, members: list[int], strength: float) -> Stack:
    rows, scale, middle = _features(stack, members)
    everyone = np.ones((1, len(truth)), np.float32)
    weight, bias = _solved(rows, truth, np.array([strength]), everyone, stack.shape[2])
    # Back to logits as they come: unstandardised, and blind to what is added to a whole row.
    plain = weight[0] / scale
    matrices = plain.reshape(stack.shape[2], len(members), stack.shape[2]).transpose(1, 0, 2)
    matrices = matrices - matrices.mean(2, keepdims=True)
    return Stack(members, matrices, bias[0] - plain @ middle)


def _strength(stack: Floats, truth: Labels, members: list[int]) -> float:
    """The inverse penalty with the least log-loss on rows that were left out."""
    rows, _, _ = _features(stack, members)
    # Rows come in an order that knows nothing of them, or is shuffled by label alike.
    fold = np.random.default_rng(0).permutation(len(truth)) % _FOLDS
    strengths = np.repeat(_STRENGTHS, _FOLDS)
    keeps = np.stack([fold != i % _FOLDS for i in range(len(strengths))]).astype(np.float32)
    weight, bias = _solved(rows, truth, strengths, keeps, stack.shape[2])
    lost = np.empty(len(strengths))
    for i, keep in enumerate(keeps):
        out = keep == 0
        found = rows[out].astype(np.float64) @ weight[i].T + bias[i]
        lost[i] = losses(found, truth[out]).mean()
    return _STRENGTHS[int(np.argmin(lost.reshape(-1, _FOLDS).mean(1)))]


def _solved(
    rows: Floats, truth: Labels, strengths: Doubles, weights: Floats, classes: int
) -> tuple[Doubles, Doubles]:
    problems = Problems(strengths, weights, truth.astype(np.int64), classes)
    return solve(Rotated.of(rows), problems)


def _features(stack: Floats, members: list[int]) -> tuple[Floats, Doubles, Doubles]:
    """(rows, members · classes) standardised logits, their spread and their means."""
    chosen = np.asarray(stack[members], np.float64)
    chosen = chosen - chosen.mean(2, keepdims=True)
    flat: NDArray[np.float64] = chosen.transpose(1, 0, 2).reshape(chosen.shape[1], -1)
    middle, scale = flat.mean(0), np.maximum(flat.std(0), 1e-6)
    return ((flat - middle) / scale).astype(np.float32), scale, middle

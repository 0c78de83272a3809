"""Pooling models' answers: a weighted sum of calibrated logits, its weights chosen greedily.

logits(x) = Σ_k w_k · z_k(x) / T_k,   Σ w_k = 1: the logarithmic opinion pool, p ∝ Π p_k^(w_k)
Genest and Zidek 1986, doi:10.1214/ss/1177013825

It is linear in the logits, so it is one graph whose output is logits again, and heads on one
encoder add no pass. Weights: forward selection with replacement from the best single model,
Caruana et al. 2004, doi:10.1145/1015330.1015432.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sartor.core.likelihood import Truth, fit_temperature, losses
from sartor.core.protocols import Floats

Doubles = NDArray[np.float64]
Labels = Truth
Allowed = Callable[[frozenset[int]], bool]
"""Whether these models may stand together."""


class Rule(Protocol):
    """What makes one answer of several models'."""

    @property
    def members(self) -> list[int]:
        """Positions of the models that it reads."""
        ...

    def logits(self, stack: Floats) -> Floats:
        """(models, rows, classes) logits to (rows, classes)."""
        ...


Chooser = Callable[[Floats, Labels], Rule]
"""(models, rows, classes) logits and the truth of the rows to the rule that suits them best."""

ROUNDS = 24
"""Picks, with replacement: a weight is a multiple of 1 / picks."""
_LEAST_GAIN = 1e-4
"""Log-loss, in nats, that one more pick must save: below is rounding, above may be a model more."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """Models with their weights.

    Args:
        weights: (models,), 0 for those left out, Σ = 1.
        temperatures: (models,), each fitted on the rows that chose the weights.
    """

    weights: Doubles
    temperatures: Doubles

    @property
    def members(self) -> list[int]:
        """Models with a weight, the heaviest first."""
        order = np.argsort(-self.weights, kind="stable")
        return [int(i) for i in order if self.weights[i] > 0]

    @property
    def scales(self) -> Doubles:
        """(models,) what each model's logits are multiplied with."""
        return self.weights / self.temperatures

    def logits(self, stack: Floats) -> Floats:
        """(models, rows, classes) logits to (rows, classes)."""
        chosen = self.members
        found = np.tensordot(self.scales[chosen], np.asarray(stack[chosen], np.float64), axes=1)
        return found.astype(np.float32)


def choose(stack: Floats, truth: Labels, allowed: Allowed = lambda _: True) -> Mixture:
    """Pick models one by one, each time the one that lowers the log-loss of the sum most.

    Args:
        stack: (models, rows, classes) logits.
        truth: Of the rows; see `core.likelihood` for its forms.
        allowed: Asked of every set of models before it is formed; true of each model alone.
    """
    temperatures = np.array([fit_temperature(logits, truth) for logits in stack])
    # Of answers about pieces there is an axis more.
    ready = np.asarray(stack, np.float64) / temperatures.reshape(-1, *[1] * (stack.ndim - 1))
    total = np.zeros(ready.shape[1:])
    picks: list[int] = []
    best, kept = np.inf, 0
    for count in range(1, ROUNDS + 1):
        open_ = [k for k in range(len(ready)) if allowed(frozenset((*picks, k)))]
        means = [losses((total + ready[k]) / count, truth).mean() for k in open_]
        picks.append(open_[int(np.argmin(means))])
        total += ready[picks[-1]]
        if (loss := min(means)) < best - _LEAST_GAIN:
            best, kept = loss, count
    weights = np.bincount(picks[:kept], minlength=len(ready)) / kept
    return Mixture(weights, temperatures)


def choose_one(stack: Floats, truth: Labels) -> Mixture:
    """The one model with the lowest log-loss, as a rule like any other."""
    temperatures = np.array([fit_temperature(logits, truth) for logits in stack])
    found = [losses(z / t, truth).mean() for z, t in zip(stack, temperatures, strict=True)]
    weights = np.zeros(len(stack))
    weights[int(np.argmin(found))] = 1.0
    return Mixture(weights, temperatures)


def cross_fitted(
    stack: Floats, truth: Labels, halves: NDArray[np.bool_], chooser: Chooser = choose
) -> Floats:
    """(rows, classes): what each half's rows get from the rule that the other half chose.

    A rule chosen on few rows fits those rows' luck; scored on rows that had no say, it shows what
    the choosing is worth on test rows.

    Args:
        stack: (models, rows, classes) logits.
        truth: Of the rows; see `core.likelihood` for its forms.
        halves: (rows,) side of each row.
        chooser: Makes a rule of some rows.
    """
    found = np.empty(stack.shape[1:], np.float32)
    for side in (False, True):
        learns, scored = halves == side, halves != side
        found[scored] = chooser(stack[:, learns], truth[learns]).logits(stack[:, scored])
    return found


def split_in_halves(groups: Sequence[str] | int, seed: int) -> NDArray[np.bool_]:
    """(rows,) a random side for each row; rows of one group lie on one side.

    Args:
        groups: Group of each row, or the number of rows where they have none.
        seed: Same seed, same sides.
    """
    names = np.arange(groups) if isinstance(groups, int) else np.asarray(groups)
    found, member = np.unique(names, return_inverse=True)
    side = np.zeros(len(found), bool)
    side[np.random.default_rng(seed).permutation(len(found))[: len(found) // 2]] = True
    return side[member.reshape(-1)]

"""LogME: how well a linear model on frozen activations explains the labels, weights integrated out.

y = F w + e,  w ~ N(0, α⁻¹ I),  e ~ N(0, β⁻¹ I),  A = α I + β FᵀF,  m = β A⁻¹ Fᵀ y

log p(y | F) = n/2 log β + D/2 log α − n/2 log 2π − β/2 ‖F m − y‖² − α/2 ‖m‖² − ½ log |A|

is maximised over α and β, one class against the rest at a time; the score is its mean over classes,
divided by the rows. The integral penalises activations that could explain any labels, so no rows
need be held out. You et al. 2021, https://arxiv.org/abs/2102.11005

In the singular basis of F only t = α/β matters (β has a closed form), and MacKay's fixed point
γ = Σ s²/(s² + t),  t ← γ / (n − γ) · ‖F m − y‖² / ‖m‖²  costs a sum over directions.
"""

import numpy as np

from sartor.models.ranking.spectrum import Doubles, Labels, Spectrum, class_targets

_STARTS = (1e-3, 1e-1, 10.0)
"""Times the mean squared singular value: the evidence can have more than one maximum."""
_STEPS = 200
_CLOSE = 1e-7
_LEAST, _MOST = 1e-9, 1e9
"""Bounds of t over the mean squared singular value: labels that are explained to the last digit, or
not at all, have their maximum at 0 or infinity, where the score no longer changes."""


def logme(found: Spectrum) -> float:
    """Mean log-evidence a row, in nats; higher is better, and only differences mean anything.

    Unchanged by moving, rotating or scaling all activations.
    """
    if not len(found.squares):
        return float(_evidence(found, np.ones(len(found.totals))).mean() / (found.rows - 1))
    evidence = np.max([_climb(found, start) for start in _STARTS], axis=0)
    return float(evidence.mean() / (found.rows - 1))


def logme_of_labels(labels: Labels) -> float:
    """What `logme` tends to where the activations say nothing: the labels explained by their mean.

    Args:
        labels: (rows,) class indices, of at least two classes.
    """
    targets, _ = class_targets(labels)
    noise = (targets**2).sum(0) / (len(labels) - 1)
    return float(-0.5 * (np.log(2 * np.pi * noise) + 1).mean())


def _climb(found: Spectrum, start: float) -> Doubles:
    """(classes,) log-evidence at the fixed point that is reached from one start."""
    squares, power, free = found.squares[:, None], found.along**2, found.rows - 1
    unexplained = np.maximum(found.totals - power.sum(0), 0.0)
    unit = float(found.squares.mean())
    t = np.full(len(found.totals), start * unit)
    for _ in range(_STEPS):
        shrunk = squares + t
        effective = (squares / shrunk).sum(0)
        residual = (power * (t / shrunk) ** 2).sum(0) + unexplained
        length = (power * squares / shrunk**2).sum(0)
        # Labels orthogonal to every direction have m = 0: the weights vanish and t is unbounded.
        new = effective * residual / (np.maximum(free - effective, 1e-300) * (length + 1e-300))
        new = np.clip(new, _LEAST * unit, _MOST * unit)
        done = np.abs(np.log(new / t)).max() < _CLOSE
        t = new
        if done:
            break
    return _evidence(found, t)


def _evidence(found: Spectrum, t: Doubles) -> Doubles:
    """(classes,) log-evidence at t = α/β, with the best β.

    Args:
        found: Of n rows, n − 1 of them free.
        t: (classes,).
    """
    squares, power, free = found.squares[:, None], found.along**2, found.rows - 1
    unexplained = np.maximum(found.totals - power.sum(0), 0.0)
    noise = ((power * t / (squares + t)).sum(0) + unexplained) / free
    spread = np.log1p(squares / t).sum(0)
    return -0.5 * (free * (np.log(2 * np.pi * noise) + 1) + spread)

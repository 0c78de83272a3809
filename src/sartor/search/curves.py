"""Learning curves: how a loss falls as rows are added, and where it would reach a target.

    power law     loss(n) = a + b · n^−c           Hestness et al. 2017, arXiv:1712.00409
    exponential   loss(n) = a + b · e^(−n / t)     Domhan et al. 2015 mix families the same way

Five points decide no curve. So every draw of the measured points is fitted by every curve of a
grid of shapes (a and b in closed form, within bounds), one shape is drawn by how well it fits, and
the spread over draws and shapes is the forecast. Power laws fit such curves best on the whole
(Mohr and van Rijn 2022, arXiv:2201.12150), and so weigh more beforehand.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

INTERVAL = 0.8
"""Probability mass of every stated interval."""
HORIZON = 100.0
"""Times the largest measured size at which a forecast gives up."""
_POWERS = np.geomspace(0.08, 2.0, 25)
_SPANS = np.geomspace(0.2, 10.0, 20)
"""Of the exponential's t, in units of the largest measured size."""
_PRIOR_OF_POWERS = 0.75
_FLAT = 1e-12


@dataclass(frozen=True, slots=True)
class Measured:
    """A loss at growing numbers of rows.

    Args:
        rows: (points,), rising, at least 3.
        draws: (draws, points), the loss in imagined repetitions of the measurement.
        noise: (points,), standard deviation of what one point has apart from the others.
    """

    rows: Doubles
    draws: Doubles
    noise: Doubles


@dataclass(frozen=True, slots=True)
class Fan:
    """Curves that the measurement allows, one a draw.

    Args:
        low: (draws,), a: the loss with rows without end.
        height: (draws,), b.
        shape: (draws,), c, or t in rows.
        power: (draws,), True for a power law.
        largest: Rows at the last measured point.
    """

    low: Doubles
    height: Doubles
    shape: Doubles
    power: NDArray[np.bool_]
    largest: float

    def at(self, rows: float) -> Doubles:
        """(draws,), the loss at a number of rows."""
        with np.errstate(over="ignore", under="ignore"):
            fall = np.where(self.power, rows**-self.shape, np.exp(-rows / self.shape))
        return self.low + self.height * fall

    def reaching(self, target: float) -> Doubles:
        """(draws,), rows at which the loss is down to `target`; infinite beyond the horizon."""
        share = np.divide(
            target - self.low, self.height, out=np.full_like(self.low, -1.0), where=self.height > 0
        )
        flat = self.height <= 0
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            by_power = share ** (-1 / self.shape)
            by_span = -self.shape * np.log(share)
        found = np.where(self.power, by_power, by_span)
        found = np.where(share > 0, np.maximum(found, 0.0), np.inf)
        found = np.where(flat, np.where(self.low <= target, 0.0, np.inf), found)
        return np.where(found > HORIZON * self.largest, np.inf, found)


def fit(measured: Measured, *, most: float = 1.0, seed: int = 0) -> Fan:
    """The curves that a measurement allows.

    Args:
        measured: Points with their doubt.
        most: Upper bound of the loss; the lower one is 0.
        seed: Same seed, same curves.
    """
    rows, draws = measured.rows, measured.draws
    weights = 1.0 / np.maximum(measured.noise, 1e-4) ** 2
    spans = _SPANS * rows[-1]
    falls = np.vstack([rows ** -_POWERS[:, None], np.exp(-rows / spans[:, None])])
    prior = np.concatenate(
        [
            np.full(len(_POWERS), _PRIOR_OF_POWERS / len(_POWERS)),
            np.full(len(_SPANS), (1 - _PRIOR_OF_POWERS) / len(_SPANS)),
        ]
    )
    low, height, misfit = _bounded(falls, draws, weights, most)
    likely = np.log(prior)[:, None] - misfit / 2
    # Drawing a shape by its weight: the largest of weight plus Gumbel noise.
    noise = np.random.default_rng(seed).gumbel(size=likely.shape)
    chosen = np.argmax(likely + noise, axis=0)
    picked = chosen, np.arange(len(draws))
    shapes = np.concatenate([_POWERS, spans])
    return Fan(low[picked], height[picked], shapes[chosen], chosen < len(_POWERS), float(rows[-1]))


def _bounded(
    falls: Doubles, draws: Doubles, weights: Doubles, most: float
) -> tuple[Doubles, Doubles, Doubles]:
    """Weighted least squares of a and b for every shape and draw, 0 <= a <= most and b >= 0.

    Args:
        falls: (shapes, points), what b is multiplied by.
        draws: (draws, points).
        weights: (points,).
        most: See above.

    Returns:
        a, b and the weighted sum of squares, each (shapes, draws). The minimum of a convex
        function over a corner of the plane lies inside it or on one of its edges.
    """
    total = weights.sum()
    one = (falls * weights).sum(1, keepdims=True)
    two = (falls**2 * weights).sum(1, keepdims=True)
    level = (draws * weights).sum(1)[None, :]
    cross = (falls * weights) @ draws.T
    spread = np.maximum(total * two - one**2, _FLAT)
    inside = np.broadcast_to((two * level - one * cross) / spread, cross.shape)
    best: tuple[Doubles, Doubles, Doubles] | None = None
    mean = np.broadcast_to(level / total, cross.shape)
    free = np.clip(inside, 0.0, most)
    for low, height in (
        (free, (cross - one * free) / np.maximum(two, _FLAT)),
        (np.clip(mean, 0.0, most), np.zeros_like(mean)),
        (np.zeros_like(mean), cross / np.maximum(two, _FLAT)),
    ):
        height = np.maximum(height, 0.0)
        predicted = low[..., None] + height[..., None] * falls[:, None, :]
        misfit = ((predicted - draws[None]) ** 2 * weights).sum(-1)
        if best is None:
            best = low, height, misfit
        else:
            better = misfit < best[2]
            best = (
                np.where(better, low, best[0]),
                np.where(better, height, best[1]),
                np.where(better, misfit, best[2]),
            )
    assert best is not None
    return best

"""Learning curves: how a loss falls as rows are added, and where it would reach a target.

    power law     loss(n) = a + b · (n + d)^−c     the best fit of 16 families to 4.4 M measured
                                                   curves (Mohr et al. 2022, arXiv:2201.12150)
    exponential   loss(n) = a + b · e^(−n / t)     for tasks that are learnt for good

Five noisy points decide no curve. So every draw of the points is compared with every curve of a
grid (b in closed form), one curve is drawn by how well it fits and how likely it was beforehand,
and the spread over draws and curves is the forecast, as Domhan et al. 2015 mix families. A floor
`a` far below the present loss is more likely beforehand than one at it: otherwise noise in the last
point reads as a floor every other time.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

INTERVAL = 0.8
"""Probability mass of every stated interval."""
HORIZON = 100.0
"""Times the largest measured size at which a forecast gives up."""
_POWERS = np.geomspace(0.1, 3.0, 14)
_SHIFTS = np.array([0.0, 0.1, 0.3, 1.0, 3.0])
"""The power law's d, in units of the largest measured size."""
_SPANS = np.geomspace(0.2, 5.0, 14)
"""The exponential's t, in the same units."""
_EXPONENTIAL = 0.25
"""Beforehand."""
_FLOORS = np.array([0.0, 0.15, 0.3, 0.5, 0.7, 0.9])
"""a, in units of the last measured loss."""
_PRIOR_OF_FLOORS = np.array([0.36, 0.2, 0.16, 0.12, 0.09, 0.07])
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
    """Curves that the measurement allows, one a draw; sizes in units of the largest measured.

    Args:
        low: (draws,), a: the loss with rows without end.
        height: (draws,), b.
        shape: (draws,), c, or t.
        shift: (draws,), d.
        power: (draws,), True for a power law.
        largest: Rows at the last measured point.
    """

    low: Doubles
    height: Doubles
    shape: Doubles
    shift: Doubles
    power: NDArray[np.bool_]
    largest: float

    def at(self, rows: float) -> Doubles:
        """(draws,), the loss at a number of rows above 0."""
        size = rows / self.largest
        with np.errstate(over="ignore", under="ignore"):
            powers = (size + self.shift) ** -self.shape
            fall = np.where(self.power, powers, np.exp(-size / self.shape))
        return self.low + self.height * fall

    def reaching(self, target: float) -> Doubles:
        """(draws,), rows at which the loss is down to `target`; infinite beyond the horizon."""
        share = np.divide(
            target - self.low, self.height, out=np.full_like(self.low, -1.0), where=self.height > 0
        )
        flat = self.height <= 0
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            by_power = share ** (-1 / self.shape) - self.shift
            by_span = -self.shape * np.log(share)
        found = np.where(self.power, by_power, by_span)
        found = np.where(share > 0, np.maximum(found, 0.0), np.inf)
        found = np.where(flat, np.where(self.low <= target, 0.0, np.inf), found)
        return np.where(found > HORIZON, np.inf, np.minimum(found, HORIZON) * self.largest)


def fit(measured: Measured, *, seed: int = 0) -> Fan:
    """The curves that a measurement allows.

    Args:
        measured: Points with their doubt.
        seed: Same seed, same curves.
    """
    draws = measured.draws
    weights = 1.0 / np.maximum(measured.noise, 1e-4) ** 2
    curves = _Curves.grid()
    falls = curves.falls(measured.rows / measured.rows[-1])
    height = np.empty((len(_FLOORS), len(falls), len(draws)))
    misfit = np.empty_like(height)
    square = np.maximum((falls**2 * weights).sum(1), _FLAT)
    for index, floor in enumerate(_FLOORS):
        above = draws - floor * draws[:, -1:]
        cross = (falls * weights) @ above.T
        height[index] = np.maximum(cross / square[:, None], 0.0)
        # |y − b·f|² = |y|² − 2b·fy + b²·f², all weighted.
        whole = (above**2 * weights).sum(1)
        misfit[index] = whole - 2 * height[index] * cross + height[index] ** 2 * square[:, None]
    prior = np.log(_PRIOR_OF_FLOORS)[:, None] + np.log(curves.prior)[None, :]
    likely = prior[..., None] - misfit / 2
    # Drawing by weight: the largest of log-weight plus Gumbel noise.
    noise = np.random.default_rng(seed).gumbel(size=likely.shape)
    flat = (likely + noise).reshape(-1, len(draws)).argmax(0)
    floor, curve = np.unravel_index(flat, likely.shape[:2])
    return Fan(
        _FLOORS[floor] * draws[:, -1],
        height[floor, curve, np.arange(len(draws))],
        curves.shape[curve],
        curves.shift[curve],
        curves.power[curve],
        float(measured.rows[-1]),
    )


@dataclass(frozen=True, slots=True)
class _Curves:
    """The grid of falling curves: shape, shift, family and weight beforehand, (curves,) each."""

    shape: Doubles
    shift: Doubles
    power: NDArray[np.bool_]
    prior: Doubles

    @staticmethod
    def grid() -> "_Curves":
        powers, spans = len(_POWERS) * len(_SHIFTS), len(_SPANS)
        return _Curves(
            shape=np.concatenate([np.repeat(_POWERS, len(_SHIFTS)), _SPANS]),
            shift=np.concatenate([np.tile(_SHIFTS, len(_POWERS)), np.zeros(spans)]),
            power=np.arange(powers + spans) < powers,
            prior=np.repeat([(1 - _EXPONENTIAL) / powers, _EXPONENTIAL / spans], [powers, spans]),
        )

    def falls(self, sizes: Doubles) -> Doubles:
        """(curves, sizes), what b is multiplied by."""
        shape, shift = self.shape[:, None], self.shift[:, None]
        return np.where(self.power[:, None], (sizes + shift) ** -shape, np.exp(-sizes / shape))

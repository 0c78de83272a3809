"""Where a trial ends within its fit: worse than most before it, after the same share of training.

The median rule: at each evaluation the best validation log-loss so far is compared with the median
of what earlier trials of the study had by then.

Golovin et al. 2017 (Google Vizier), https://doi.org/10.1145/3097983.3098043
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

Curve = Sequence[tuple[float, float]]
"""(share of the training done, validation log-loss), in order."""
_LEAST = 4
"""Earlier trials without which nothing is said."""
_EARLY = 0.25
"""Share of the training before which nothing is said: rates are still rising."""
_SAME = 1e-3
"""Shares that differ by less are the same: the journal rounds them."""


@dataclass(frozen=True, slots=True)
class Bar:
    """What earlier trials had reached; plain values, so that another process may hold it."""

    curves: tuple[Curve, ...] = ()

    def halts(self, share: float, loss: float) -> bool:
        """Whether a fit whose best loss so far is `loss` is not worth the rest of its training."""
        if share < _EARLY:
            return False
        seen = [found for curve in self.curves if (found := _reached(curve, share)) is not None]
        return len(seen) >= _LEAST and loss > median(seen)


NO_BAR = Bar()


def curve_of(history: Sequence[Mapping[str, float]]) -> Curve:
    """What a fit's evaluations say; empty for closed forms."""
    return [(step["share"], step["validation_log_loss"]) for step in history]


def _reached(curve: Curve, share: float) -> float | None:
    """The best loss up to a share of the training; None where nothing was evaluated by then."""
    return min((loss for at, loss in curve if at <= share + _SAME), default=None)

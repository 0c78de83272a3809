"""Choosing a cascade: who answers first, who answers where the first is unsure, and what is sure.

With the rows in the order of the cheap member's confidence, of which the first k climb,

    loss(k) = (Σ_{i ≤ k} loss_dear(i) + Σ_{i > k} loss_cheap(i)) / n

so cumulative sums tell every threshold of a pair at once, and the best pair with its threshold is
one choice, made on some rows and scored on others (`pool.cross_fitted`).

How many rows may climb follows from the criteria of speed: at batch 1 a request takes the cheap
member's time, or both members' times where it climbs, so below a bound on the 95th percentile that
the dear member misses, fewer than one in twenty may.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sartor.core.likelihood import fit_temperature, losses
from sartor.core.protocols import Floats
from sartor.search.pool import Doubles, Labels

_LEAST_GAIN = 1e-4
"""Log-loss, in nats a row, that more climbing must save."""
_SHARES = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
_Z = 1.645  # one-sided 95 %

Latencies = NDArray[np.float64]
"""(processes, requests), milliseconds."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two models that could be a cascade.

    Args:
        cheap: Position of the model that all rows go through.
        dear: Of the one for those that climb.
        most: Share of rows that may climb.
    """

    cheap: int
    dear: int
    most: float = 1.0


@dataclass(frozen=True, slots=True)
class Switch:
    """A pair with its threshold.

    Args:
        pair: The models.
        temperatures: Of the cheap and of the dear one, fitted on the rows that chose.
        threshold: Of the cheap one's largest probability, below which a row climbs.
        share: Of the rows that chose, how many climb.
    """

    pair: Pair
    temperatures: tuple[float, float]
    threshold: float
    share: float

    @property
    def members(self) -> list[int]:
        """The cheap model and the dear one."""
        return [self.pair.cheap, self.pair.dear]

    @property
    def trivial(self) -> bool:
        """Whether one of the two answers everything."""
        return not 0 < self.share < 1

    def logits(self, stack: Floats) -> Floats:
        """(models, rows, classes) logits to (rows, classes)."""
        cheap, dear = (
            np.asarray(stack[k], np.float64) / t
            for k, t in zip(self.members, self.temperatures, strict=True)
        )
        climbs = _confidence(cheap) < self.threshold
        return np.where(climbs[:, None], dear, cheap).astype(np.float32)


def choose_switch(stack: Floats, truth: Labels, pairs: Sequence[Pair]) -> Switch:
    """The pair and the threshold with the least log-loss; of thresholds alike, the fewest climb.

    Args:
        stack: (models, rows, classes) logits.
        truth: (rows,) class indices.
        pairs: At least one.
    """
    used = sorted({k for pair in pairs for k in (pair.cheap, pair.dear)})
    temperatures = {k: fit_temperature(stack[k], truth) for k in used}
    ready = {k: np.asarray(stack[k], np.float64) / temperatures[k] for k in used}
    lost = {k: losses(ready[k], truth) for k in used}
    order = {k: _by_confidence(ready[k]) for k in {pair.cheap for pair in pairs}}
    best: tuple[float, Switch] | None = None
    for pair in pairs:
        rows, bounds = order[pair.cheap]
        saved = np.cumsum((lost[pair.cheap] - lost[pair.dear])[rows])
        means = lost[pair.cheap].mean() - np.concatenate([[0.0], saved]) / len(rows)
        open_ = np.isfinite(bounds) & (np.arange(len(bounds)) <= pair.most * len(rows))
        means = np.where(open_, means, np.inf)
        k = int(np.flatnonzero(means <= means.min() + _LEAST_GAIN)[0])
        if best is None or means[k] < best[0]:
            both = temperatures[pair.cheap], temperatures[pair.dear]
            best = means[k], Switch(pair, both, float(bounds[k]), k / len(rows))
    assert best is not None, "there is at least one pair"
    return best[1]


def affordable(
    holds: Callable[[Callable[[Latencies], Latencies]], bool], ratio: float, rows: int
) -> float:
    """The largest share of rows that may climb to the dear member, 0 where none may.

    Args:
        holds: Whether the criteria of speed hold if the dear member's latencies became what a
            function makes of them.
        ratio: The cheap member's time over the dear one's.
        rows: That will tell the share: on other rows it will be another one.
    """
    found = 0.0
    for share in _SHARES:

        def mixed(dear: Latencies, share: float = share) -> Latencies:
            requests = dear.shape[1]
            error = np.sqrt(share * (1 - share) * (1 / rows + 1 / requests))
            reached = np.floor(np.arange(requests + 1) * min(share + _Z * error, 1.0))
            return dear * (ratio + np.diff(reached))

        if not holds(mixed):
            break
        found = share
    return found


def _by_confidence(logits: Doubles) -> tuple[NDArray[np.intp], Doubles]:
    """Rows, the least sure first, and the thresholds below which the first 0, 1, … rows lie.

    A threshold is infinite where no number lies between two rows. None lies on a row: the graph
    rounds otherwise than this does.
    """
    sure = _confidence(logits)
    rows = np.argsort(sure, kind="stable")
    ranked = sure[rows]
    between = (ranked[1:] + ranked[:-1]) / 2
    apart = ranked[1:] - ranked[:-1] > 1e-6
    return rows, np.concatenate([[0.0], np.where(apart, between, np.inf), [2.0]])


def _confidence(logits: Doubles) -> Doubles:
    return 1 / np.exp(logits - logits.max(1, keepdims=True)).sum(1)

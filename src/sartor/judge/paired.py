"""Whether one model beats another on the same rows, where there are few of them.

Only rows on which exactly one of the two is right tell them apart. Were neither better, each such
row would be a fair coin, so of d of them the challenger is right on w with

    p = P(Binomial(d, ½) ≥ w)

This is exact for any d (the sign test on McNemar's table: McNemar 1947, doi:10.1007/BF02295996).
Its interval is that of w / d (Clopper–Pearson) put into points of accuracy, d/n · (2 w/d − 1), so
the lower end is above 0 exactly where the test says so.
"""

from dataclasses import dataclass

import numpy as np

from sartor.judge.alpha import WORN, two_sided
from sartor.judge.intervals import clopper_pearson
from sartor.judge.planning import binomial_rows
from sartor.need.verdict import State, Verdict

_CHANCES = (0.5, 0.9)
"""Chances that the two ends of a stated range of further rows are enough."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Two models' answers to the same rows, counted.

    Args:
        n: Rows.
        wins: Of them, those on which only the challenger is right.
        losses: Those on which only the other is.
    """

    n: int
    wins: int
    losses: int

    @property
    def differing(self) -> int:
        """Rows that tell the two apart."""
        return self.wins + self.losses

    @property
    def gain(self) -> float:
        """The challenger's accuracy minus the other's; 0 without rows."""
        return (self.wins - self.losses) / self.n if self.n else 0.0

    def ends(self, alpha: float) -> tuple[float, float]:
        """Interval of `gain`, given how many rows differ; (0, 0) where none does.

        Args:
            alpha: Two-sided error.
        """
        if not self.differing:
            return 0.0, 0.0
        low, high = clopper_pearson(float(self.wins), float(self.differing), alpha)
        share = self.differing / self.n
        return share * (2 * float(low) - 1), share * (2 * float(high) - 1)


def fewest(confidence: float, look: int) -> int:
    """Rows that must differ before even a challenger that is right on all of them is shown better.

    Asking earlier would spend a look that cannot succeed; how many differ tells nothing of who is
    right on them, so it may be counted without a look.

    Args:
        confidence: E.g. 0.95.
        look: Which look at the rows it would be, from 1.
    """
    return int(np.ceil(-np.log2(two_sided(confidence, look) / 2)))


def better(pairs: Pairs, confidence: float, look: int, name: str) -> Verdict:
    """Whether the challenger is better than the other; "met" is the only answer that releases.

    Args:
        pairs: On rows that the challenger did not learn from.
        confidence: That no challenger is called better which is not, over all looks together.
        look: Which look at these rows it is, from 1; after `alpha.WORN` looks nothing is shown.
        name: What was asked, e.g. "accuracy > shared".
    """
    low, high = pairs.ends(two_sided(confidence, look))
    state: State = "met" if low > 0 else "unmet" if high < 0 else "unproven"
    note = ""
    if look > WORN and state == "met":
        state, note = "unproven", f"look {look}: these rows were looked at too often"
    return Verdict(name, pairs.gain, low, high, pairs.n, state, note=note)


def further(pairs: Pairs, confidence: float, look: int) -> tuple[int, int] | None:
    """Range of further differing rows after which the next look would say better, were the truth
    what was seen; None where the challenger was not ahead.

    Args:
        pairs: As they were seen.
        confidence: As for `better`.
        look: Which look the next one is.
    """
    if pairs.wins <= pairs.losses:
        return None
    error, share = two_sided(confidence, look) / 2, pairs.wins / pairs.differing
    needed = [binomial_rows(0.5, share, error, chance) for chance in _CHANCES]
    if None in needed:
        return None
    least, most = (max(1, (count or 0) - pairs.differing) for count in needed)
    return least, max(least, most)

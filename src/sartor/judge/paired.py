"""Whether one model beats another on the same rows, where there are few of them.

Only rows on which exactly one of the two is right tell them apart. Were neither better, each such
row would be a fair coin, so of d of them the challenger is right on w with

    p = P(Binomial(d, ½) ≥ w)

This is exact for any d (the sign test on McNemar's table: McNemar 1947, doi:10.1007/BF02295996).
In points of accuracy the gain is q · (2 s − 1), q being how often the two differ and s how often
the challenger wins then. Its interval takes the worst corners of the Clopper–Pearson intervals of
d / n and w / d, so the lower end is above 0 exactly where the test says so.
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
        """Interval of `gain`; (-1, 1) without rows.

        Args:
            alpha: Two-sided error; that of the sign is exact.
        """
        rare, often = clopper_pearson(float(self.differing), float(self.n), alpha)
        worst, best = clopper_pearson(float(self.wins), float(self.differing), alpha)
        low, high = 2 * float(worst) - 1, 2 * float(best) - 1
        return (
            low * float(rare if low > 0 else often),
            high * float(often if high > 0 else rare),
        )


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

"""How much error a look may spend.

The m-th different look at a test set spends alpha / (m (m + 1)) of alpha = 1 - confidence; the sum
over all looks is alpha. The error that counts is a false "met", which only one end of the
interval can cause, so the two-sided interval of look m has twice that. The first is the plain 95 %
interval: 2 · 5 % / (1 · 2).
"""

WORN = 5
"""Looks after which a test set can prove nothing good any more."""


def two_sided(confidence: float, look: int) -> float:
    """Two-sided error of the interval at the `look`-th look, counted from 1."""
    return 2 * (1 - confidence) / (look * (look + 1))

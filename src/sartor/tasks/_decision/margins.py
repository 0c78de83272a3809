"""How clearly a rule meets criteria on validation rows: margins in standard errors, capped.

A margin that is large enough counts no further, so that the rest of the room goes to other criteria
or to what the rule is chosen by where none is left.
"""

from collections.abc import Collection, Sequence

import numpy as np

from sartor.core.likelihood import Doubles
from sartor.need.criterion import Criterion

ENOUGH = 4.0
"""Standard errors: 2 to be proven on test rows, 2 for both samples' luck."""


def counted(rows: int, test_rows: int) -> float:
    """What a row counts as in a margin: less than one where a rule is chosen on more rows than it
    will be proven on, or the margin would be too small for those.

    Args:
        rows: That it is chosen on.
        test_rows: That it will be proven on; 0 for as many.
    """
    return min(1.0, test_rows / max(rows, 1)) if test_rows else 1.0


def movable(criteria: Sequence[Criterion], metrics: Collection[str]) -> list[Criterion]:
    """Those that a rule is chosen by: on all rows, of such a metric, and against no baseline."""
    return [c for c in criteria if c.metric in metrics and not c.relative_to and c.where is None]


def share_error(share: float | Doubles, n: float | Doubles) -> Doubles:
    """The standard error of a share of n rows; as large as half a row where all are alike.

    Args:
        share: Of the rows, 0 to 1.
        n: Rows times what each is `counted` as.
    """
    rows = np.maximum(n, 1)
    return np.maximum(np.sqrt(share * (1 - share) / rows), 0.5 / rows)


def margin(criterion: Criterion, value: float | Doubles, error: float | Doubles) -> Doubles:
    """How far a value lies on the right side of the threshold, in its standard errors.

    Args:
        criterion: With the threshold.
        value: Of its metric, or of several rules at once.
        error: Of each value, above 0.
    """
    sign = 1 if criterion.wants_more else -1
    return np.minimum(sign * (value - criterion.threshold) / error, ENOUGH)

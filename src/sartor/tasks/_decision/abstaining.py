"""When to say nothing: the confidence below which a row is left to a person."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sartor.need.criterion import Bound, Criterion
from sartor.tasks._decision.margins import ENOUGH

_Z = 1.645  # one-sided 95 %


def asked_threshold(
    confidence: NDArray[np.float64],
    right: NDArray[np.bool_],
    criteria: Sequence[Criterion],
    count: float = 1.0,
) -> float | None:
    """The threshold that all criteria on the automation rate ask for; None where there is none.

    Args:
        confidence: (rows,) of the answers.
        right: (rows,) whether they are right.
        criteria: Of the need.
        count: What a row counts as; see `counted`.
    """
    found: list[float] = []
    for criterion in criteria:
        bound = criterion.parameter("precision")
        if criterion.metric == "automation_rate" and isinstance(bound, Bound):
            asked = bound.value, criterion.threshold
            found.append(pick_threshold(confidence, right, *asked, count))
    return max(found, default=None)


def pick_threshold(
    confidence: NDArray[np.float64],
    right: NDArray[np.bool_],
    precision: float,
    coverage: float,
    count: float = 1.0,
) -> float:
    """The confidence above which to answer, so that precision and coverage are both clear.

    Of the thresholds whose precision is shown (Wilson bound), the one where the lesser of the two
    margins, in standard errors, is largest; a margin that is large enough counts no further, so
    that the rest of the room goes to answering more.

    Args:
        confidence: (examples,) probability of the chosen class.
        right: (examples,) whether it was right.
        precision: Asked of the answered rows, 0 to 1.
        coverage: Share of rows that should be answered; 0 for as many as the precision allows.
        count: What a row counts as; see `counted`.

    Returns:
        Threshold on the confidence; 0 answers everything.
    """
    order = np.argsort(-confidence, kind="stable")
    n = np.arange(1, len(order) + 1)
    p = np.cumsum(right[order]) / n
    share, n = n / max(len(order), 1), n * count
    # Wilson score, lower end: Wilson 1927, doi:10.1080/01621459.1927.10502953
    middle = (p + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    reach = _Z / (1 + _Z**2 / n) * np.sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2))
    # Rows of equal confidence are answered together or not at all.
    ends = np.append(np.diff(confidence[order]) != 0, True)
    shown = np.flatnonzero((middle - reach >= precision) & ends)
    if not len(shown):
        last = int(np.ceil(coverage * len(order))) - 1
    elif coverage <= 0:
        last = int(shown[-1])
    else:
        rows = len(order) * count
        spread = np.sqrt(np.maximum(share * (1 - share), 1 / rows) / rows)
        clear = np.minimum((middle - precision) / reach * _Z, (share - coverage) / spread)
        clear = np.minimum(clear, ENOUGH)[shown]
        last = int(shown[np.flatnonzero(clear == clear.max())[-1]])
    last = min(max(last, 0), len(order) - 1)
    return 0.0 if last == len(order) - 1 else float(confidence[order[last]])


def unsure(confidence: float, threshold: float) -> str:
    """Why a row below the threshold has no answer."""
    return f"less sure than the chosen threshold ({confidence:.2f} < {threshold:.2f})"

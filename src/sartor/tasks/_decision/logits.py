"""Logits before and after a decision rule: refused, made finite, made probabilities, shown.

A row whose logits are not all finite numbers is refused where a rule is fitted, and never answered
where one is applied: it keeps the other rows of its batch from failing with it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sartor.core.errors import Diverged
from sartor.core.ragged import rows_scored

BROKEN = "the model's output is not a number"
"""Why such a row has no answer."""
_HUGE = 1e300
"""Stands for infinity: dividing it by a temperature, or a slope times it, stays finite."""


def refuse_broken(logits: NDArray[Any]) -> None:
    """See that a rule is fitted on numbers alone.

    Args:
        logits: (rows, …) of validation rows.

    Raises:
        Diverged: If one is not a finite number.
    """
    if bad := len(logits) - len(rows_scored(logits)):
        raise Diverged(
            f"The model's outputs are not numbers for {bad} of {len(logits)} validation rows.",
            fix="train with a smaller learning rate, or in float32.",
        )


def whole_rows(logits: NDArray[Any]) -> NDArray[np.bool_]:
    """(rows,) whether all logits of a row are finite."""
    return np.isin(np.arange(len(logits)), rows_scored(logits))


def finite(logits: NDArray[Any]) -> NDArray[np.float64]:
    """In double precision; a huge number for an infinity, and the lowest for what is no number."""
    wide = np.nan_to_num(np.asarray(logits, np.float64), nan=-_HUGE)
    return np.clip(wide, -_HUGE, _HUGE)


def softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    """(rows, classes) logits to probabilities, in double precision."""
    shifted = np.asarray(logits, np.float64)
    shifted = np.exp(shifted - shifted.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)


def shown(number: float) -> float:
    """As an answer holds it: six significant digits, not decimals.

    A small probability must not become an impossible one, whose log-loss is infinite.
    """
    return float(f"{number:.6g}")

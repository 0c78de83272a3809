"""How many rows are answered without a person, and how many of those rightly."""

import numpy as np
from numpy.typing import NDArray

from sartor.judge.api import Part
from sartor.judge.statistic import proportion
from sartor.need.criterion import Bound, Criterion


def automation(
    criterion: Criterion, answered: NDArray[np.bool_], right: NDArray[np.bool_]
) -> tuple[Part, ...]:
    """The rate, and the precision among the answered where the criterion bounds it.

    Args:
        criterion: On the automation rate.
        answered: (rows,) whether a row is answered.
        right: (rows,) whether what would be said is right.
    """
    rate = Part.asked(criterion, proportion(answered), name="automation rate")
    bound = criterion.parameter("precision")
    if not isinstance(bound, Bound):
        return (rate,)
    shown = proportion(right & answered, answered)
    return (rate, Part("precision among answered", shown, bound.comparison, bound.value))

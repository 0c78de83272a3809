"""Truth where any of several names is right: indices of outputs, for `core.likelihood`."""

from collections.abc import Sequence

import numpy as np

from sartor.core.errors import DataError
from sartor.core.likelihood import Truth
from sartor.core.near import near_miss


def right_ones(targets: Sequence[Sequence[str]], outputs: Sequence[str], what: str) -> Truth:
    """(rows, 1, most) indices of the right names of each row, then −1.

    Args:
        targets: The right names of each row.
        outputs: Those there are, in order.
        what: One of them is called.

    Raises:
        DataError: If a name is not among the outputs.
    """
    index = {name: i for i, name in enumerate(outputs)}
    found = np.full((len(targets), 1, max([1, *map(len, targets)])), -1, np.int64)
    for row, names in enumerate(targets):
        for place, name in enumerate(names):
            if name not in index:
                raise DataError(
                    f"{what} {name!r} is not among the outputs.", fix=near_miss(name, index)
                )
            found[row, 0, place] = index[name]
    return found

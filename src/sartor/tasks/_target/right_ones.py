"""Truth by places among the outputs: of one name a row, and where any of several is right."""

from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from sartor.core.errors import DataError
from sartor.core.likelihood import Truth
from sartor.core.near import near_miss


def places_of(
    names: Iterable[str], outputs: Sequence[str], what: str = "label"
) -> NDArray[np.int64]:
    """(names,) the place of each among the outputs.

    Args:
        names: Looked up.
        outputs: Those there are, in order.
        what: One of them is called.

    Raises:
        DataError: If a name is not among the outputs.
    """
    index = {name: i for i, name in enumerate(outputs)}
    found: list[int] = []
    for name in names:
        if name not in index:
            raise DataError(
                f"{what} {name!r} is not among the outputs.", fix=near_miss(name, index)
            )
        found.append(index[name])
    return np.array(found, np.int64)


def right_ones(targets: Sequence[Sequence[str]], outputs: Sequence[str], what: str) -> Truth:
    """(rows, 1, most) places of the right names of each row, then −1: see `core.likelihood`.

    Args:
        targets: The right names of each row.
        outputs: Those there are, in order.
        what: One of them is called.

    Raises:
        DataError: If a name is not among the outputs.
    """
    counts = np.array([len(names) for names in targets], np.int64)
    held = np.arange(max(1, counts.max(initial=0))) < counts[:, None]
    found = np.full(held.shape, -1, np.int64)
    found[held] = places_of(chain.from_iterable(targets), outputs, what)
    return found[:, None]

"""Logits of rows that have as many answers as they have pieces: padded to the longest row.

(rows, pieces, outputs): 0 where a row has no piece, or where the model did not read it.

How many pieces a row has, its text says (`core.pieces`), or its truth (`core.likelihood`): arrays
of the same rows are brought to one width and arrays of different rows put under one another.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sartor.core.protocols import Floats


def widened(logits: NDArray[Any], width: int) -> NDArray[Any]:
    """The same for `width` pieces a row: cut, or filled up with 0.

    Args:
        logits: (rows, pieces, outputs).
        width: Of the result.
    """
    have = logits.shape[1]
    if have >= width:
        return logits[:, :width]
    return np.pad(logits, ((0, 0), (0, width - have), (0, 0)))


def under(parts: Sequence[Floats]) -> Floats:
    """Logits of some rows, then those of others: (rows, …), as wide as the widest part."""
    if parts[0].ndim < 3:
        return np.concatenate(parts)
    width = max(part.shape[1] for part in parts)
    return np.concatenate([widened(part, width) for part in parts])


def fit_to(logits: Floats, like: Floats) -> Floats:
    """Logits in the width of others of the same rows."""
    return logits if logits.ndim < 3 else widened(logits, like.shape[1])


def rows_scored(logits: Floats) -> NDArray[np.intp]:
    """Numbers of the rows whose logits are all finite: those that a model was asked for."""
    return np.flatnonzero(np.isfinite(logits).all(tuple(range(1, logits.ndim))))


def stacked(rows: Sequence[Floats]) -> Floats:
    """One row under the other, (pieces, outputs) each, or (outputs,)."""
    if rows[0].ndim < 2:
        return np.stack(rows)
    return under([row[None] for row in rows])

"""What all transferability scores need of the activations, computed once.

With F the centred activations (rows, width), F = U S Vᵀ, and Y the centred one-hot labels:
S², the squared norms of the rows of F, and Uᵀ Y. Centring is an intercept without a prior; it takes
one dimension, so n rows are n − 1 free ones: without that, evidence would be unbounded whenever
there are more activations than rows.

The decomposition is of the smaller of F Fᵀ and Fᵀ F, so that few rows of wide activations and many
rows of narrow ones are both cheap; a subset of the rows needs only its part of F Fᵀ.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sartor.core.errors import DataError, SettingError
from sartor.core.protocols import Floats

Doubles = NDArray[np.float64]
Labels = NDArray[np.int64]
_NOISE = 1e-10
"""Share of the largest eigenvalue below which one is rounding."""


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Activations and labels of some rows, as the scores read them.

    Args:
        squares: (r,) squared singular values of the centred activations, all above 0; none where
            all rows are alike.
        along: (r, classes) Uᵀ Y: the centred labels along each direction.
        totals: (classes,) squared norms of the centred labels' columns.
        counts: (classes,) rows of each class, all above 0.
        norms: (rows,) squared norms of the centred rows.
        width: Activations of a row.
    """

    squares: Doubles
    along: Doubles
    totals: Doubles
    counts: Doubles
    norms: Doubles
    width: int

    @property
    def rows(self) -> int:
        return len(self.norms)


def spectrum(features: Floats, labels: Labels) -> Spectrum:
    """Decompose the activations of labelled rows.

    Args:
        features: (rows, width).
        labels: (rows,) class indices; classes without a row are left out.

    Raises:
        DataError: If fewer than two classes occur.
        SettingError: If an activation is not a number.
    """
    if not np.isfinite(features).all():
        raise SettingError(
            "activations that are to be scored hold values that are not numbers.",
            fix="choose another backbone: this one overflows on the data.",
        )
    centred = features.astype(np.float64)
    centred -= centred.mean(0)
    targets, counts = class_targets(labels)
    rows, width = centred.shape
    if width < rows:
        squares, right = _eigen(centred.T @ centred)
        left = centred @ right / np.sqrt(squares)
    else:
        squares, left = _eigen(centred @ centred.T)
    norms = np.einsum("nd,nd->n", centred, centred)
    return Spectrum(squares, left.T @ targets, (targets**2).sum(0), counts, norms, width)


def class_targets(labels: Labels) -> tuple[Doubles, Doubles]:
    """((rows, classes) centred one-hot labels, (classes,) rows of each class).

    Raises:
        DataError: If fewer than two classes occur.
    """
    classes, place = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise DataError(
            f"all {len(labels)} rows have the same label.",
            fix="add rows of at least one other label.",
        )
    hot = np.eye(len(classes))[place]
    return hot - hot.mean(0), hot.sum(0)


def _eigen(symmetric: Doubles) -> tuple[Doubles, Doubles]:
    """Eigenvalues above rounding, and their vectors as columns."""
    values, vectors = np.linalg.eigh(symmetric)
    kept = values > _NOISE * max(values[-1], 0.0)
    return values[kept], vectors[:, kept]

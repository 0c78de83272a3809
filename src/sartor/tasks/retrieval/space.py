"""The space that texts and documents are compared in: a centre and a linear map, in closed form.

x to P (x − μ) for both, so that a document which nobody asked about finds its place too:

    centred    P = 1. What all texts share hides what tells them apart: Mu and Viswanath 2018,
               https://arxiv.org/abs/1702.01417
    whitened   P = Σ^−½, Σ the covariance of texts and documents: Su et al. 2021,
               https://arxiv.org/abs/2103.15316
    within     P = Σ^−½, Σ the covariance of x − d over rows and their documents: directions in
               which a text differs from its own answer count less. Hatch et al. 2006,
               doi:10.21437/Interspeech.2006-183, for speakers and their recordings

Σ is drawn towards a multiple of the identity: Ledoit and Wolf 2004,
doi:10.1016/S0047-259X(03)00096-4.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sartor.core.protocols import Floats

Metric = Literal["centred", "whitened", "within"]
Seen = tuple[Floats, Floats]
"""What an encoder makes of rows and of documents, (…, features) each."""


def fit_space(
    seen: Seen, truth: NDArray[np.int64], metric: Metric, shrinkage: float
) -> tuple[Floats, Floats | None]:
    """(μ of (features,), P of (features, features) or None for the identity).

    Args:
        seen: Training rows and documents.
        truth: (rows, most) right documents of each row, then −1.
        metric: See above.
        shrinkage: Share of the identity in Σ, above 0 and at most 1.
    """
    rows, documents = seen
    every = np.concatenate([rows, documents]).astype(np.float64)
    middle = every.mean(0)
    if metric == "centred":
        return middle.astype(np.float32), None
    apart = every - middle
    if metric == "within":
        at, column = np.nonzero(truth >= 0)
        apart = rows[at].astype(np.float64) - documents[truth[at, column]]
        # A shift that all texts have against all documents is no matter of one row.
        apart -= apart.mean(0) if len(apart) else 0.0
    size = every.shape[1]
    spread = apart.T @ apart / max(len(apart), 1)
    level = max(float(np.trace(spread)) / size, 1e-12)
    values, vectors = np.linalg.eigh((1 - shrinkage) * spread + shrinkage * level * np.eye(size))
    return middle.astype(np.float32), ((vectors / np.sqrt(values)) @ vectors.T).astype(np.float32)


def narrowed(project: Floats, seen: Seen, keep: int) -> Floats:
    """(features, keep): of a map, the directions in which rows and documents differ most."""
    every = np.concatenate(seen).astype(np.float64)
    moved = (every - every.mean(0)) @ project
    _, axes = np.linalg.eigh(moved.T @ moved)
    return (project @ axes[:, ::-1][:, :keep]).astype(np.float32)

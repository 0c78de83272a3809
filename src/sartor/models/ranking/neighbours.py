"""Nearest neighbours as a check: does what lies near have the same label?

It assumes nothing of the labels' form, so where it contradicts LogME the linear picture is in
doubt; and its figure is one that a reader knows: a share of rows answered rightly.
"""

import numpy as np

from sartor.core.protocols import Floats
from sartor.models.ranking.spectrum import Labels

NEIGHBOURS = 5


def knn_accuracy(features: Floats, labels: Labels) -> float:
    """Share of rows whose label the majority of their 5 nearest other rows has; 0 to 1.

    Nearness is the cosine of the centred activations; among equal votes the nearest row's label
    counts.

    Args:
        features: (rows, width), at least 2 rows.
        labels: (rows,) class indices.
    """
    centred = features - features.mean(0)
    centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    near = centred @ centred.T
    np.fill_diagonal(near, -np.inf)
    count = min(NEIGHBOURS, len(labels) - 1)
    # Stable, so that rows equally near count in their order on every machine.
    order = np.argsort(-near, axis=1, kind="stable")[:, :count]
    votes = np.zeros((len(labels), int(labels.max()) + 1))
    # A little less for each place further away: it decides ties and nothing else.
    for place in range(count):
        votes[np.arange(len(labels)), labels[order[:, place]]] += 1 - 1e-3 * place
    return float((votes.argmax(1) == labels).mean())

"""Few rows: what a dozen validation rows cannot choose, cross-validation on the training rows can.

Every training row is answered by a head that was fitted without it (and without its near
duplicates and its group), on cached activations, so folds cost little. The answers choose the
setting and the decision rule; they judge the recipe, not the bundle, so they prove nothing: the
verdict is still taken on the test rows.

Stone 1974, https://doi.org/10.1111/j.2517-6161.1974.tb00994.x
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sartor.core.protocols import Floats
from sartor.core.ragged import under
from sartor.core.strata import counted_under
from sartor.core.types import Examples
from sartor.data.near import row_clusters

FOLDS = 5
FEW = 50
"""Validation rows below which an accuracy is known to worse than about seven points."""
_MOST = 1_000
"""Training rows beyond which every candidate by folds would cost more than it tells."""


@dataclass(frozen=True, slots=True)
class Folds:
    """The training rows, dealt.

    Args:
        train: The rows.
        fold: (rows,), which fold a row is held out with.
    """

    train: Examples
    fold: NDArray[np.int64]

    def logits(self, fit: Callable[[Examples, Examples], Sequence[Floats]]) -> list[Floats]:
        """(training rows, outputs) for each candidate, every row by a fit that did not see it.

        Args:
            fit: Training rows and held-out rows to the held-out rows' logits, one a candidate.
        """
        pieces = [fit(rest, held) for rest, held in self.parts()]
        return [self.together(of_one) for of_one in zip(*pieces, strict=True)]

    def parts(self) -> Iterator[tuple[Examples, Examples]]:
        """(rows to learn from, rows that are held out) of each fold."""
        for fold in np.unique(self.fold):
            held, rest = np.flatnonzero(self.fold == fold), np.flatnonzero(self.fold != fold)
            yield self.train.take(rest.tolist()), self.train.take(held.tolist())

    def together(self, pieces: Sequence[Floats]) -> Floats:
        """What was answered of each of `parts`, in the order of the training rows."""
        return under(pieces)[np.argsort(np.argsort(self.fold, kind="stable"))]


def few(train: Examples, validation: Examples) -> bool:
    """Whether validation rows are too few to choose by, and training rows not too many for folds.

    Args:
        train: Rows to learn from.
        validation: Rows that would choose.
    """
    return len(validation) < FEW and len(train) <= _MOST


def deal(train: Examples, group: str = "") -> Folds | None:
    """Folds with each label spread evenly, near duplicates and groups together; the same each time.

    None where the rows are so alike or so grouped that some fold would leave a single label to
    learn from.

    Args:
        train: With targets.
        group: Name of the group column under `extra`; empty for none.
    """
    groups = train.extra[group] if group else ()
    clusters = row_clusters(list(train.inputs.values()))
    members: dict[int, list[int]] = defaultdict(list)
    for row, cluster in enumerate(_joined(clusters.tolist(), groups)):
        members[cluster].append(row)
    fold = np.zeros(len(train), np.int64)
    names = counted_under(train.target)
    held: list[Counter[str]] = [Counter() for _ in range(FOLDS)]
    for rows in sorted(members.values(), key=lambda rows: (-len(rows), rows)):
        labels = [name for row in rows for name in names[row]]
        taken = min(
            range(FOLDS), key=lambda n: (sum(held[n][k] for k in labels), held[n].total(), n)
        )
        held[taken].update(labels)
        fold[rows] = taken
    whole = sum(held, Counter[str]())
    if any(len(whole - one) < 2 for one in held):
        return None
    return Folds(train, fold)


def both(one: Examples, other: Examples) -> Examples:
    """The rows of two sets with the same columns, one after the other."""
    return Examples(
        ids=one.ids + other.ids,
        inputs={role: one.inputs[role] + other.inputs[role] for role in one.inputs},
        target=one.target + other.target,
        extra={name: one.extra[name] + other.extra[name] for name in one.extra},
    )


def _joined(clusters: Sequence[int], groups: Sequence[object]) -> list[int]:
    """Clusters that share a group made one, to the end of every chain."""
    parent = {cluster: cluster for cluster in clusters}

    def root(cluster: int) -> int:
        while parent[cluster] != cluster:
            cluster = parent[cluster]
        return cluster

    first: dict[object, int] = {}
    for cluster, name in zip(clusters, groups, strict=bool(groups)):
        if name not in (None, ""):
            one, other = root(cluster), root(first.setdefault(name, cluster))
            parent[max(one, other)] = min(one, other)
    return [root(cluster) for cluster in clusters]

"""The confusion matrix as the page shows it: small enough to read, nothing lost from the sums."""

from collections.abc import Sequence
from dataclasses import dataclass

from sartor.report.answers import Confusion

MOST_LABELS = 10


@dataclass(frozen=True, slots=True)
class Cell:
    """`share` of the row, in [0, 1]; `right` on the diagonal of a single label."""

    count: int
    share: float
    right: bool


@dataclass(frozen=True, slots=True)
class Row:
    label: str
    cells: tuple[Cell, ...]
    total: int


@dataclass(frozen=True, slots=True)
class Matrix:
    """`folded` is how many labels share the last row and column, whose label is empty."""

    labels: tuple[str, ...]
    rows: tuple[Row, ...]
    folded: int


def matrix(confusion: Confusion) -> Matrix | None:
    """Keep the labels with the most mistakes, fold the others into one; None when it is not there.

    Columns beyond the labels (abstentions) and rows of another length are not of this matrix.
    """
    size = len(confusion.labels)
    square = len(confusion.counts) == size and all(len(row) == size for row in confusion.counts)
    if not size or not square:
        return None
    groups = _groups(confusion.counts)
    folded = len(groups[-1]) if len(groups) < size else 0
    labels = tuple(confusion.labels[group[0]] if len(group) == 1 else "" for group in groups)
    rows = tuple(_row(confusion.counts, at, groups, labels) for at in range(len(groups)))
    return Matrix(labels, rows, folded)


def _groups(counts: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """Indices of the labels that share a row, in their own order; the folded ones last."""
    size = len(counts)
    if size <= MOST_LABELS:
        return [(i,) for i in range(size)]
    mistakes = [
        sum(counts[i]) + sum(row[i] for row in counts) - 2 * counts[i][i] for i in range(size)
    ]
    shown = sorted(sorted(range(size), key=lambda i: -mistakes[i])[:MOST_LABELS])
    return [*((i,) for i in shown), tuple(i for i in range(size) if i not in shown)]


def _row(
    counts: Sequence[Sequence[int]],
    at: int,
    groups: Sequence[tuple[int, ...]],
    labels: Sequence[str],
) -> Row:
    found = [sum(counts[i][j] for i in groups[at] for j in group) for group in groups]
    total = sum(found)
    cells = (
        Cell(count, count / total if total else 0.0, column == at and len(groups[at]) == 1)
        for column, count in enumerate(found)
    )
    return Row(labels[at], tuple(cells), total)

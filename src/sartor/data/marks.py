"""Answers that lie in many columns, a mark each: joined into one before anything reads them."""

import re
from collections.abc import Iterator

import polars as pl

from sartor.data.labels import LabelFault, refuse
from sartor.data.table import FILE, OURS, ROW, Columns, Table, texts_of
from sartor.tasks import Target, Unreadable
from sartor.tasks._target.label_set import marked

_BETWEEN = re.compile(r"[\W_]+")
"""What parts a column's name from the beginning or end that it shares with others."""


def join_marks(table: Table, columns: Columns) -> Table:
    """The table with a column under the need's own pattern, e.g. `topic_*`; else as it is.

    A row without any mark, not even a 0, has no answer there.

    Raises:
        DataError: With file and row, if a cell is neither 0 nor 1.
    """
    found = columns.target.columns(columns.label, table.columns)
    if not found:
        return table
    refuse(list(mark_faults(table, columns)))
    cells = {label: texts_of(table.frame[name]) for name, label in found.items()}
    answers = [
        columns.target.text([label for label, column in cells.items() if marked(column[row])])
        if any(column[row] is not None for column in cells.values())
        else None
        for row in range(len(table))
    ]
    joined = pl.Series(columns.label, answers, dtype=pl.String)
    return Table(table.frame.with_columns(joined), table.sources)


def mark_faults(table: Table, columns: Columns) -> Iterator[LabelFault]:
    """Every cell that is neither 0 nor 1."""
    for name, label in columns.target.columns(columns.label, table.columns).items():
        for row, cell in enumerate(texts_of(table.frame[name])):
            try:
                marked(cell)
            except Unreadable as error:
                place = str(table.frame[FILE][row]), int(table.frame[ROW][row])
                yield LabelFault(label, (place,), f"column {name!r}: {error.what}", error.fix)


def shared_pattern(frame: pl.DataFrame, target: Target) -> str:
    """The pattern that most columns of marks share, at least two; "" where none does.

    Args:
        frame: As read.
        target: The form of the answers; most know no such columns.
    """
    names = [name for name in frame.columns if name not in OURS]
    marks = {name for name in names if _are_marks(frame[name].head(1000))}
    ends = [(name, between) for name in marks for between in _BETWEEN.finditer(name)]
    patterns = {f"{name[: between.end()]}*" for name, between in ends}
    patterns |= {f"*{name[between.start() :]}" for name, between in ends}
    best = 1, 0, ""
    for pattern in sorted(patterns):
        found = target.columns(pattern, names).keys()
        if found <= marks:  # a star that takes in a text too would be refused
            best = max(best, (len(found), len(pattern), pattern))
    return best[2]


def _are_marks(column: pl.Series) -> bool:
    cells = [cell for cell in texts_of(column) if cell and cell.strip()]
    try:
        for cell in cells:
            marked(cell)
    except Unreadable:
        return False
    return bool(cells)

"""Answers that lie in many columns, a mark each: joined into one before anything reads them."""

from collections.abc import Iterator

import polars as pl

from sartor.data.labels import LabelFault, refuse
from sartor.data.table import FILE, ROW, Columns, Table, texts_of
from sartor.tasks import Unreadable
from sartor.tasks._target.label_set import marked


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

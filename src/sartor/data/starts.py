"""Where answers begin, from a column of their own into the cells of the answers."""

import json

import polars as pl

from sartor.data.table import Columns, Table, texts_of
from sartor.tasks._target.passages import Passages

STARTS = "answer_start"
"""Name of the column, as SQuAD has it."""


def join_starts(table: Table, columns: Columns) -> Table:
    """The table whose answers say where they begin, where a column says it for them.

    As it is, where answers are no parts of a context, or there is no such column. A cell that is no
    plain text, or whose answer is missing, stays.

    Args:
        table: As read.
        columns: Parts of the columns.
    """
    names = {columns.label, STARTS}
    if not isinstance(columns.target, Passages) or not names <= set(table.columns):
        return table
    answers, starts = (texts_of(table.frame[name]) for name in (columns.label, STARTS))
    joined = [_joined(*pair) for pair in zip(answers, starts, strict=True)]
    cells = pl.Series(columns.label, joined, dtype=pl.String)
    return Table(table.frame.with_columns(cells), table.sources)


def _joined(answer: str | None, start: str | None) -> str | None:
    if not answer or not answer.strip() or not start or answer.lstrip()[:1] in ("[", "{"):
        return answer
    try:
        place: int | str = int(float(start))
    except (ValueError, OverflowError):
        place = start
    return json.dumps({"text": answer, "start": place}, ensure_ascii=False)

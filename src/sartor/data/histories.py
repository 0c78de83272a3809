"""Rows that are what users did, to rows with the history before each: choices, or answers."""

from sartor.data import answers, moments
from sartor.data.labels import LabelFault
from sartor.data.moments import Moments
from sartor.data.table import Columns, Table


def join_histories(table: Table, columns: Columns) -> Moments:
    """The rows with their histories; other rows as they are.

    Args:
        table: As read.
        columns: `user` names the column whose rows are histories, `item`, if any, what was asked.

    Raises:
        DataError: With file and row, if a row cannot be used.
    """
    if not columns.item:
        return moments.join_moments(table, columns)
    return answers.join_answers(table, columns)


def history_faults(table: Table, columns: Columns) -> list[LabelFault]:
    """Every row that cannot be used; columns must be there."""
    find = answers.answer_faults if columns.item else moments.moment_faults
    return find(table, columns)


def made_of(columns: Columns) -> tuple[str, ...]:
    """Names of the columns that are made of the rows."""
    if not columns.user:
        return ()
    return answers.MADE if columns.item else moments.MADE

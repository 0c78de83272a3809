"""Columns that a task reads: what each holds, and all of a row as one cell.

A column whose values are numbers holds numbers, one whose values are dates, dates; any other holds
categories. The need may say otherwise. Where nearly all values are numbers and some are not, that
is a fault with its row, not a category.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import polars as pl

from sartor.core.columns import Kind, cell
from sartor.core.errors import DataError
from sartor.core.texts import Cells
from sartor.core.unfit import Unfit
from sartor.data.normalise import MISSING_LABEL, MISSING_TEXT
from sartor.data.table import CELLS, FILE, ROW, Columns, Table, place, texts_of

_NEARLY = 0.9
"""Share of a column's values that must be numbers for the others to be faults."""
_FEW = 20
"""Distinct values up to which a column that mixes numbers and words holds categories."""


def join_cells(table: Table, columns: Columns) -> tuple[Table, Columns]:
    """The table with the columns that are read as one, and what each of them holds.

    A text beside them may be missing: it is an empty one then. What was made of histories is one
    already (`histories.join_histories`).

    Args:
        table: As read.
        columns: Kinds that are "auto" are found out.

    Raises:
        DataError: If a column is absent or, with file and row, a cell is not of its kind.
    """
    if not columns.cells or columns.user:
        return table, columns
    table.require(*columns.cells)
    values = {name: _values(table.frame[name]) for name in columns.cells}
    kinds: dict[str, Kind] = {
        name: _kind(values[name], asked) for name, asked in columns.cells.items()
    }
    read = {name: _read(table, name, kind, values[name]) for name, kind in kinds.items()}
    rows = [Cells.of(dict(zip(read, row, strict=True))) for row in zip(*read.values(), strict=True)]
    added = [pl.Series(CELLS, rows, dtype=pl.String)]
    for name in columns.words:
        table.require(name)
        texts = [text or "" for text in texts_of(table.frame[name])]
        added.append(pl.Series(name, texts, dtype=pl.String))
    return Table(table.frame.with_columns(added), table.sources), replace(columns, cells=kinds)


def readable(table: Table, taken: Sequence[str | None]) -> dict[str, Kind]:
    """Columns that look worth reading, with what each holds, for `sartor init`.

    Args:
        table: As read.
        taken: Columns that play another part.
    """
    found: dict[str, Kind] = {}
    for name in table.columns:
        values = _values(table.frame[name])
        distinct = len({str(v) for v in values if v is not None})
        kind = _kind(values, "auto")
        # One value tells nothing; a category that never comes back is an id.
        if (
            name not in taken
            and distinct > 1
            and (kind != "category" or 2 * distinct < len(values))
        ):
            found[name] = kind
    return found


def empty_in(table: Table, columns: Columns) -> list[str]:
    """Columns that one file lacks or never fills while another does, as sentences."""
    found: list[str] = []
    for name in columns.cells:
        filled = table.frame.group_by(FILE, maintain_order=True).agg(pl.col(name).count())
        counts = dict(zip(filled[FILE].to_list(), filled[name].to_list(), strict=True))
        if any(counts.values()):
            found += [
                f"{file} has no value in the column {name!r}, which other files fill: if it is not"
                " known where the model is served, leave it out of data.columns."
                for file, count in counts.items()
                if not count
            ]
    return found


def _values(column: pl.Series) -> list[Any]:
    """Cells as they are; a text that marks a missing value is none."""
    if column.dtype != pl.String:
        return column.to_list()
    cells = [None if v is None else v.strip() for v in column.to_list()]
    return [None if not v or v.casefold() in MISSING_LABEL else v for v in cells]


def _kind(values: Sequence[Any], asked: str) -> Kind:
    if asked != "auto":
        return cast("Kind", asked)
    there = [v for v in values if v is not None]
    marked = [v for v in there if not (isinstance(v, str) and v.casefold() in MISSING_TEXT)]
    if not marked or any(isinstance(v, bool) for v in marked):
        return "category"
    numbers = sum(_is(v, "number") for v in marked)
    if numbers == len(marked):
        return "number"
    if numbers >= _NEARLY * len(marked) and len(set(map(str, marked))) > _FEW:
        return "number"  # the others are told as faults
    return "date" if all(_is(v, "date") for v in marked) else "category"


def _is(value: Any, kind: Kind) -> bool:
    try:
        return cell(value, kind) is not None
    except Unfit:
        return False


def _read(table: Table, name: str, kind: Kind, values: Sequence[Any]) -> Iterator[Any]:
    for row, value in enumerate(values):
        # A category may be called "none"; a number that reads so is missing.
        words = isinstance(value, str) and kind != "category"
        given = None if words and value.casefold() in MISSING_TEXT else value
        try:
            yield cell(given, kind)
        except Unfit as error:
            lies = place(str(table.frame[FILE][row]), int(table.frame[ROW][row]))
            raise DataError(
                f"{lies}: column {name!r} {error.what}.",
                fix=f"{error.fix}, or write `{name}: category` under data.columns.",
            ) from None


def refuse_clashes(cells: Mapping[str, str], parts: Mapping[str, str]) -> None:
    """Refuse a column that plays another part too, or has the name of one.

    Args:
        cells: Columns that are read.
        parts: Key under `data:` to the column that it names, "" for none.

    Raises:
        DataError: If the model would read its own answer, or two keys of a request were the same.
    """
    for key, column in parts.items():
        if column and column in cells:
            raise DataError(
                f"data.columns and data.{key} both name the column {column!r}.",
                fix=f"take {column} out of data.columns.",
            )
    if parts.get("text") and "text" in cells:
        raise DataError(
            "A column called 'text' cannot be told from the text in a request.",
            fix="rename the column.",
        )

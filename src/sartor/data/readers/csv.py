"""Comma-, semicolon-, tab- and bar-separated text, with a header line.

Every cell stays the text it was ("007" is not 7). Ragged rows are refused: which cell is missing
is a guess.
"""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import polars as pl

from sartor.core.errors import DataError
from sartor.data.api import READERS, Limits
from sartor.data.encoding import encoding_of
from sartor.data.table import place

_SAMPLE_LINES = 200
_BATCH = 50_000
# The csv module's field limit is one number for the whole process.
_FIELD_LIMIT = Lock()


@READERS.add
@dataclass(frozen=True, slots=True)
class Csv:
    """Reads csv and tsv in UTF-8, UTF-16 and GB18030."""

    suffixes: tuple[str, ...] = (".csv", ".tsv", ".tab")

    def claims(self, path: Path) -> bool:
        return path.suffix.lower() in self.suffixes

    def read(self, path: Path, *, limits: Limits) -> pl.DataFrame:
        encoding = encoding_of(path, limits)
        delimiter = _delimiter(path, encoding, limits)
        try:
            return _parse(path, encoding, _Dialect(delimiter, quoted=True), limits)
        except DataError:
            # Tab-separated exports often leave quotes as plain characters.
            if delimiter != "\t":
                raise
            try:
                return _parse(path, encoding, _Dialect(delimiter, quoted=False), limits)
            except DataError:
                pass
            raise


@dataclass(frozen=True, slots=True)
class _Dialect:
    delimiter: str
    quoted: bool


def _delimiter(path: Path, encoding: str, limits: Limits) -> str:
    """The separator that cuts the first lines into the most equal rows of two or more cells."""
    with path.open(encoding=encoding, newline="") as file:
        lines = [line for _, line in zip(range(_SAMPLE_LINES), file, strict=False)]
    best, score = ",", (0.0, 0)
    for delimiter in "\t,;|":
        try:
            with _field_limit(limits):
                widths = [len(r) for r in csv.reader(lines, delimiter=delimiter) if r]
        except csv.Error:
            continue
        if not widths or widths[0] < 2:
            continue
        equal = sum(w == widths[0] for w in widths) / len(widths)
        if (equal, widths[0]) > score:
            best, score = delimiter, (equal, widths[0])
    return best


def _parse(path: Path, encoding: str, dialect: _Dialect, limits: Limits) -> pl.DataFrame:
    with path.open(encoding=encoding, newline="") as file, _field_limit(limits):
        rows = csv.reader(
            file,
            delimiter=dialect.delimiter,
            quoting=csv.QUOTE_MINIMAL if dialect.quoted else csv.QUOTE_NONE,
            strict=True,
        )
        names: list[str] = []
        parts: list[pl.DataFrame] = []
        batch: list[list[str]] = []
        count = 0
        try:
            for row in rows:
                if not names:
                    names = _header(path, row, limits) if row else names
                    continue
                if not row:
                    continue
                count += 1
                _check(path, row, names, count, limits)
                batch.append(row)
                if len(batch) == _BATCH:
                    parts.append(_frame(names, batch))
                    batch = []
        except csv.Error as error:
            raise _broken(path, count, rows.line_num, error, limits) from error
    if not count:
        raise DataError(
            f"{path} has a header and no rows." if names else f"{path} holds no rows.",
            fix="export it again with its rows; the first line is the header.",
        )
    return pl.concat([*parts, _frame(names, batch)])


def _header(path: Path, row: list[str], limits: Limits) -> list[str]:
    names = [name.strip() or f"column_{i}" for i, name in enumerate(row, 1)]
    if len(names) > limits.columns:
        raise DataError(
            f"{path}: {len(names):,} columns; the limit is {limits.columns:,}.",
            fix="check the separator, or drop the columns you do not need.",
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            f"{path}, header: column {twice[0]!r} occurs {names.count(twice[0])} times.",
            fix="rename one of them.",
        )
    return names


def _check(path: Path, row: list[str], names: list[str], count: int, limits: Limits) -> None:
    if len(row) != len(names):
        cells = "1 cell" if len(row) == 1 else f"{len(row)} cells"
        raise DataError(
            f"{place(str(path), count)}: {cells} where the header has {len(names)}"
            f" ({', '.join(names[:6])}): {' | '.join(row)[:80]!r}.",
            fix='quote cells that contain the separator or a line end ("a, b"); if this is the last'
            " row, the file may be cut off.",
        )
    if count > limits.rows:
        raise DataError(
            f"{path} has more than {limits.rows:,} rows.", fix="pass a sample of the rows."
        )


def _broken(path: Path, count: int, line: int, error: csv.Error, limits: Limits) -> DataError:
    where = f"{place(str(path), count + 1)} (ends at line {line:,})"
    if "field larger" in str(error):
        return DataError(
            f"{where}: a cell is longer than {limits.cell_characters:,} characters.",
            fix="check that every quote is closed, or shorten the cell.",
        )
    if "unexpected end" in str(error):
        return DataError(
            f"{where}: a quote is opened and never closed, or the file is cut off.",
            fix='close the quote; a quote inside a cell is written twice ("").',
        )
    return DataError(
        f"{where}: {error}.", fix='a quote inside a quoted cell is written twice ("").'
    )


def _frame(names: list[str], rows: list[list[str]]) -> pl.DataFrame:
    columns = zip(*rows, strict=True) if rows else ([] for _ in names)
    frame = pl.DataFrame(
        [pl.Series(n, c, dtype=pl.String) for n, c in zip(names, columns, strict=True)]
    )
    return frame.with_columns(pl.when(pl.all() != "").then(pl.all()))


@contextmanager
def _field_limit(limits: Limits) -> Iterator[None]:
    with _FIELD_LIMIT:
        before = csv.field_size_limit(limits.cell_characters)
        try:
            yield
        finally:
            csv.field_size_limit(before)

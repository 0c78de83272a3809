"""A time column as numbers that sort."""

import math
from collections.abc import Sequence
from datetime import UTC, date, datetime

import polars as pl

from sartor.core.dates import read_date
from sartor.core.errors import DataError
from sartor.core.numerals import number_of
from sartor.data.table import texts_of


def times_of(column: pl.Series, places: Sequence[str]) -> tuple[float, ...]:
    """Seconds since 1970 (UTC where no zone is given) of every row, or the numbers as they are.

    Reads what `core.dates` does. A column counts in one way: its texts are all dates, or all
    numbers.

    Args:
        column: Dates, numbers or text.
        places: Where each row lies, for the message; as many as rows.

    Raises:
        DataError: At the first row that is missing or does not read as a time.
    """
    if column.dtype.is_numeric():
        values = [math.nan if v is None else float(v) for v in column]
    elif column.dtype.is_temporal():
        values = [_seconds(v) for v in column]
    else:
        values = _parsed(texts_of(column))
    for i, value in enumerate(values):
        if not math.isfinite(value):
            shown = "is missing" if column[i] is None else f"{column[i]!r:.80} is not a time"
            raise DataError(
                f"{places[i]}: {column.name} {shown}.",
                fix="write all times as 2026-03-31 or 2026-03-31T12:00:00, or all as numbers;"
                " day-first and month-first dates cannot be told apart.",
            )
    return tuple(values)


def _seconds(value: object) -> float:
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp()
    return math.nan


def _parsed(cells: Sequence[str | None]) -> list[float]:
    texts = [cell or "" for cell in cells]
    numbers = [number_of(text) for text in texts]
    dates = [_dated(text) for text in texts]
    pairs = list(zip(numbers, dates, strict=True))
    if any(number is None and math.isfinite(date) for number, date in pairs):
        return dates
    # A counter may read 20260331 by chance; then other cells of its column are no dates.
    if all(math.isfinite(date) for date in dates):
        return dates
    return [math.nan if number is None else number for number in numbers]


def _dated(text: str) -> float:
    try:
        return _seconds(read_date(text))
    except ValueError:
        return math.nan

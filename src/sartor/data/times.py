"""A time column as numbers that sort."""

from collections.abc import Sequence
from datetime import UTC, date, datetime

import polars as pl

from sartor.core.errors import DataError
from sartor.data.table import texts_of

_FORMATS = ("%Y/%m/%d", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y.%m.%d", "%Y年%m月%d日")


def times_of(column: pl.Series, places: Sequence[str]) -> tuple[float, ...]:
    """Seconds since 1970 (UTC where no zone is given) of every row, or the numbers as they are.

    Reads ISO 8601, year/month/day and 年月日. Day-first and month-first dates are refused: which is
    which cannot be told from the data.

    Args:
        column: Dates, numbers or text.
        places: Where each row lies, for the message; as many as rows.

    Raises:
        DataError: At the first row that is missing or does not read as a time.
    """
    if column.dtype.is_numeric():
        values = [float("nan") if v is None else float(v) for v in column]
    elif column.dtype.is_temporal():
        values = [_seconds(v) for v in column]
    else:
        values = [_parsed(v) for v in texts_of(column)]
    for i, value in enumerate(values):
        if value != value:
            shown = column[i]
            raise DataError(
                f"{places[i]}: {column.name} {shown!r} is not a time.",
                fix="write times as 2026-03-31 or 2026-03-31T12:00:00, or drop data.time.",
            )
    return tuple(values)


def _seconds(value: object) -> float:
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp()
    return float("nan")


def _parsed(text: str | None) -> float:
    shown = (text or "").strip()
    if not shown:
        return float("nan")
    try:
        return _seconds(datetime.fromisoformat(shown))
    except ValueError:
        pass
    for form in _FORMATS:
        try:
            return _seconds(datetime.strptime(shown, form))
        except ValueError:
            continue
    try:
        return float(shown)
    except ValueError:
        return float("nan")

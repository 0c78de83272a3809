"""Rows to examples: the form in which stages exchange data."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from sartor.core.errors import DataError
from sartor.core.near import near_miss
from sartor.core.texts import COLUMNS, Cells
from sartor.core.types import Examples
from sartor.data.normalise import content_id
from sartor.data.table import FILE, MOMENT, ROW, place, texts_of
from sartor.tasks import Target, Unreadable, read_answer
from sartor.tasks._target.one_label import ONE_LABEL


def to_examples(
    frame: pl.DataFrame,
    inputs: Mapping[str, str],
    target: str | None,
    form: Target = ONE_LABEL,
    group: str = "",
) -> Examples:
    """Examples from a frame.

    Args:
        frame: Cleaned rows.
        inputs: Role to column, e.g. {"text": "body"}.
        target: Column of the answers, or None for unlabelled rows.
        form: Of the answers.
        group: Column of the groups, which may be one of the inputs.

    Returns:
        Inputs as text, answers in their form; all other columns (ours included), and that of the
        groups, under `extra`.

    Raises:
        DataError: If a column is absent, an input or target cell is missing, or no answer.
    """
    for column in [*inputs.values(), *([target] if target else [])]:
        if column not in frame.columns:
            raise DataError(
                f"No column is called {column!r}.", fix=near_miss(column, frame.columns)
            )
    columns = {
        role: _whole(frame, column, Cells if role == COLUMNS else str)
        for role, column in inputs.items()
    }
    rows = zip(*columns.values(), strict=True)
    used = {*inputs.values(), target} - {group}
    named = [dict(zip(columns, row, strict=True)) for row in rows]
    if MOMENT in frame.columns:  # two users may have the same history, and one of them a later
        moments = zip(named, _whole(frame, MOMENT), strict=True)
        named = [{**row, MOMENT: moment} for row, moment in moments]
    return Examples(
        ids=tuple(map(content_id, named)),
        inputs=columns,
        target=_answers(frame, target, form, list(columns.values())) if target else (),
        extra={name: tuple(frame[name].to_list()) for name in frame.columns if name not in used},
    )


def _answers(
    frame: pl.DataFrame, column: str, form: Target, texts: Sequence[Sequence[str]]
) -> tuple[Any, ...]:
    found: list[Any] = []
    for row, cell in enumerate(_whole(frame, column)):
        try:
            text = tuple(column[row] for column in texts)
            found.append(form.value(read_answer(form, cell, (), text, _as_it_is)))
        except Unreadable as error:
            known = FILE in frame.columns
            lies = place(frame[FILE][row], frame[ROW][row]) if known else f"row {row + 1:,}"
            raise DataError(f"{lies}: {error.what}.", fix=f"{error.fix}.") from None
    return tuple(found)


def _as_it_is(text: str) -> str:
    """What comes here is cleaned already, or is to be judged as it stands."""
    return text


def _whole(frame: pl.DataFrame, column: str, kind: type[str] = str) -> tuple[str, ...]:
    cells = frame[column]
    # One by one: a list of all of them beside the tuple would hold large cells twice.
    values = cells if cells.dtype == pl.String else texts_of(cells)
    row = next((row for row, value in enumerate(values) if value is None), None)
    if row is not None:
        raise DataError(
            f"Column {column!r} is missing in row {row + 1} of {len(cells)}.",
            fix="clean the table first: rows without text or label are dropped there.",
        )
    return tuple(map(kind, values))

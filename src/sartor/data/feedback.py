"""Corrections into the training rows: people correct what is wrong, so they never judge."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from sartor.core.texts import Cells, Text, each_part, parts_of, read_back, shown
from sartor.data.changes import Change, excerpt
from sartor.data.normalise import content_id, normalise_text
from sartor.data.table import CELLS, FILE, ROW, SPLIT, Columns, as_text, stack, texts_of
from sartor.tasks import Located, Unreadable, read_among, read_answer

FEEDBACK = "feedback"
"""`__file__` of a row that came from a correction."""


@dataclass(frozen=True, slots=True)
class Merged:
    """The frame with the corrections in it.

    Args:
        frame: Rows as they were, relabelled ones in their place, new ones at the end.
        added: Number of new training rows.
        relabelled: Rows whose label a correction replaced, listed with both labels.
        refused: Corrections not used, with the reason.
    """

    frame: pl.DataFrame
    added: int
    relabelled: tuple[Change, ...]
    refused: tuple[Change, ...]


def merge_feedback(
    frame: pl.DataFrame,
    corrections: Sequence[Mapping[str, Any]],
    *,
    columns: Columns,
    known: Mapping[str, str] | None = None,
) -> Merged:
    """Add corrections to the training rows; a later one on the same text overrides an earlier.

    Args:
        frame: As read, with `__file__`, `__row__`, `__split__`.
        corrections: Each with "text" and "label" (other keys are left out), oldest first; several
            texts stand in "text" as `core.texts.written` writes them.
        columns: The text and label columns of `frame`.
        known: Assignments of earlier runs: a text that they hold in test or validation is refused.
    """
    last, refused = _latest(corrections, columns)
    held = known or {}
    texts = _normalised(frame, columns)
    # What points into a text points into the last one of the row.
    pointed = list(columns.inputs.values())[-1]
    labels, cells = texts_of(frame[columns.label]), texts_of(frame[pointed])
    written = replace(columns, target=read_among(columns.target, labels))
    splits = frame[SPLIT].to_list()
    rows: dict[Text, list[int]] = {}
    for i, text in enumerate(texts):
        if text is not None:
            rows.setdefault(text, []).append(i)
    relabelled: list[Change] = []
    new: list[dict[str, Any]] = []
    for text, (row, label) in last.items():
        at = rows.get(text, [])
        named = dict(zip(columns.inputs, parts_of(text), strict=True))
        roles = [*(splits[i] for i in at), held.get(content_id(named))]
        if role := next((r for r in roles if r in ("test", "validation")), None):
            detail = f"the text is a {role} row: corrections are learnt from, never judged on"
            told = excerpt(shown(text))
            refused.append(Change(FEEDBACK, row, "dropped", "held-out row", detail, told))
            continue
        for i in at:
            if _text_of(labels[i], written, cells[i]) == label:
                continue
            place, why = (str(frame[FILE][i]), int(frame[ROW][i])), "relabelled by feedback"
            detail = f"{labels[i]!r} became {label!r} by correction {row}"
            relabelled.append(Change(*place, "changed", why, detail, excerpt(shown(text))))
            labels[i] = label
            if isinstance(columns.target, Located):
                # It points into the text in its usual form.
                cells[i] = parts_of(text)[-1]
        if not at:
            given = dict(zip(columns.inputs.values(), parts_of(text), strict=True))
            new.append({**given, columns.label: label, FILE: FEEDBACK, ROW: row})
    changed = {columns.label: labels}
    if isinstance(columns.target, Located):
        changed[pointed] = cells
    return Merged(
        _with_rows(frame, columns, changed, new), len(new), tuple(relabelled), tuple(refused)
    )


def _with_rows(
    frame: pl.DataFrame,
    columns: Columns,
    cells: Mapping[str, list[str | None]],
    new: list[dict[str, Any]],
) -> pl.DataFrame:
    changed = frame.with_columns(
        pl.Series(name, values, dtype=pl.String) for name, values in cells.items()
    )
    if not new:
        return changed
    added = pl.DataFrame(
        new,
        schema={
            **dict.fromkeys(columns.inputs.values(), pl.String),
            columns.label: pl.String,
            FILE: pl.String,
            ROW: pl.Int64,
        },
    ).with_columns(pl.lit("train").alias(SPLIT))
    return stack([changed, added])


def _normalised(frame: pl.DataFrame, columns: Columns) -> list[Text | None]:
    """What the model reads of each row; None where a cell is empty."""
    cells = [
        [
            Cells(t or "") if name == CELLS else normalise_text(t or "")[0]
            for t in texts_of(frame[name])
        ]
        for name in columns.inputs.values()
    ]
    rows = zip(*cells, strict=True)
    return [_row(texts) if _whole(texts, columns) else None for texts in rows]


def _whole(texts: tuple[str, ...], columns: Columns) -> bool:
    """Whether nothing is missing that a row must have."""
    return bool(texts[-1]) if columns.cells else all(texts)


def _row(texts: tuple[str, ...]) -> Text:
    return texts[0] if len(texts) == 1 else texts


def _latest(
    corrections: Sequence[Mapping[str, Any]], columns: Columns
) -> tuple[dict[Text, tuple[int, str]], list[Change]]:
    """Normalised texts to (number of the correction, answer's text), and what cannot be used."""
    last: dict[Text, tuple[int, str]] = {}
    refused: list[Change] = []
    for row, correction in enumerate(corrections, 1):
        said = as_text(correction.get("text") or "")
        read = read_back(said, len(columns.inputs), cells=bool(columns.cells))
        text = each_part(read or "", lambda t: normalise_text(t)[0])
        given = correction.get("label")
        cell = "" if given is None else as_text(given).strip()
        label = _text_of(cell, columns, parts_of(read or "")[-1]) if cell else ""
        whole = _whole(parts_of(text), columns)
        if not whole or not label:
            which = "label" if whole else "text"
            refused.append(
                Change(FEEDBACK, row, "dropped", "incomplete", f"no {which}", excerpt(said))
            )
            continue
        last[text] = row, label
    return last, refused


def _usual(text: str) -> str:
    return normalise_text(text)[0]


def _text_of(cell: str | None, columns: Columns, text: str | None) -> str:
    """The text of an answer about a text; empty where the cell is none."""
    try:
        return read_answer(columns.target, cell, (), text or "", _usual) if cell else ""
    except Unreadable:
        return ""

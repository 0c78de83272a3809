"""Corrections into the training rows: people correct what is wrong, so they never judge."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from sartor.data.changes import Change, excerpt
from sartor.data.normalise import content_id, normalise_text
from sartor.data.table import FILE, ROW, SPLIT, Columns, as_text, stack, texts_of
from sartor.tasks import Target, Unreadable

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
        corrections: Each with "text" and "label" (other keys are left out), oldest first.
        columns: The text and label columns of `frame`.
        known: Assignments of earlier runs: a text that they hold in test or validation is refused.
    """
    last, refused = _latest(corrections, columns.target)
    held = known or {}
    texts = [None if t is None else normalise_text(t)[0] for t in texts_of(frame[columns.text])]
    labels = texts_of(frame[columns.label])
    splits = frame[SPLIT].to_list()
    rows: dict[str, list[int]] = {}
    for i, text in enumerate(texts):
        if text:
            rows.setdefault(text, []).append(i)
    relabelled: list[Change] = []
    new: list[dict[str, Any]] = []
    for text, (row, label) in last.items():
        at = rows.get(text, [])
        role = next((splits[i] for i in at if splits[i] in ("test", "validation")), None)
        role = role or held.get(content_id({"text": text}))
        if role in ("test", "validation"):
            detail = f"the text is a {role} row: corrections are learnt from, never judged on"
            refused.append(Change(FEEDBACK, row, "dropped", "held-out row", detail, excerpt(text)))
            continue
        for i in at:
            if _text_of(labels[i], columns.target) != label:
                places = str(frame[FILE][i]), int(frame[ROW][i])
                detail = f"{labels[i]!r} became {label!r} by correction {row}"
                relabelled.append(
                    Change(*places, "changed", "relabelled by feedback", detail, excerpt(text))
                )
                labels[i] = label
        if not at:
            new.append({columns.text: text, columns.label: label, FILE: FEEDBACK, ROW: row})
    return Merged(
        _with_rows(frame, columns, labels, new), len(new), tuple(relabelled), tuple(refused)
    )


def _with_rows(
    frame: pl.DataFrame, columns: Columns, labels: list[str | None], new: list[dict[str, Any]]
) -> pl.DataFrame:
    changed = frame.with_columns(pl.Series(columns.label, labels, dtype=pl.String))
    if not new:
        return changed
    added = pl.DataFrame(
        new,
        schema={columns.text: pl.String, columns.label: pl.String, FILE: pl.String, ROW: pl.Int64},
    ).with_columns(pl.lit("train").alias(SPLIT))
    return stack([changed, added])


def _latest(
    corrections: Sequence[Mapping[str, Any]], target: Target
) -> tuple[dict[str, tuple[int, str]], list[Change]]:
    """Normalised text to (number of the correction, answer's text), and what cannot be used."""
    last: dict[str, tuple[int, str]] = {}
    refused: list[Change] = []
    for row, correction in enumerate(corrections, 1):
        text = normalise_text(as_text(correction.get("text") or ""))[0]
        given = correction.get("label")
        cell = "" if given is None else as_text(given).strip()
        label = _text_of(cell, target) if cell else ""
        if not text or not label:
            which = "text" if not text else "label"
            refused.append(
                Change(FEEDBACK, row, "dropped", "incomplete", f"no {which}", excerpt(text))
            )
            continue
        last[text] = row, label
    return last, refused


def _text_of(cell: str | None, target: Target) -> str:
    """The text of an answer; empty where the cell is none."""
    try:
        return target.read(cell) if cell else ""
    except Unreadable:
        return ""

"""Clean: normalise, drop what cannot teach, list every row that is not as it was given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from sartor.core.errors import DataError
from sartor.core.strata import names_of
from sartor.core.texts import COLUMNS, shown
from sartor.data.changes import Change, excerpt
from sartor.data.labels import LabelFault, Labelled, label_faults, refuse
from sartor.data.normalise import (
    MISSING_LABEL,
    MISSING_TEXT,
    normalise_text,
)
from sartor.data.numbers import are_numbers, number_faults
from sartor.data.repeats import Conflict, nearly_repeated, repeated
from sartor.data.rows import Rows, rows_of
from sartor.data.sides import misplaced, swapped
from sartor.data.table import Columns, Table, place
from sartor.tasks import Listed, Unreadable, Written, read_among, read_answer


@dataclass(frozen=True, slots=True)
class Cleaned:
    """The rows that stay, and what happened to the others.

    Args:
        frame: Text and label normalised, as text; other columns untouched.
        dropped: One a row that is gone.
        changed: One a row whose text or label is not as given.
        conflicts: One a text that had several labels; its rows are among `dropped`.
    """

    frame: pl.DataFrame
    dropped: tuple[Change, ...]
    changed: tuple[Change, ...]
    conflicts: tuple[Conflict, ...]

    @property
    def changes(self) -> tuple[Change, ...]:
        return self.dropped + self.changed


def clean(
    table: Table,
    columns: Columns,
    *,
    labels: Sequence[str] | None = None,
    near_duplicates: bool = True,
    known: Mapping[str, str] | None = None,
) -> Cleaned:
    """Normalise, drop the empty, the repeated and the contradictory, and check the labels.

    Args:
        table: As read.
        columns: What the model reads, the label (none leaves labels out) and the form of the
            answers.
        labels: The need's declared labels, or None for whatever occurs.
        near_duplicates: Drop training rows that nearly repeat a row of the same label
            (similarity 0.9); rows of different labels stay, and the split keeps them together.
        known: Assignments of earlier runs, content id to split: their test rows outrank new rows.

    Raises:
        DataError: If a column is absent, no row is left, an answer cannot be read, a label is not
            declared, occurs once or only in the test rows.
    """
    table.require(*columns.inputs.values(), *([columns.label] if columns.label else []))
    rows = rows_of(table, columns)
    rows.known = known or {}
    cleaned, faults = _survey(table, rows, columns, labels, near_duplicates)
    refuse([fault for fault in faults if fault.rows])
    return cleaned


def normalised(table: Table, columns: Columns, *, labels: Sequence[str] | None = None) -> Cleaned:
    """What `clean` does to each row by itself; rows that repeat or contradict others stay.

    Raises:
        DataError: If a column is absent, no row is left or an answer cannot be read.
    """
    table.require(*columns.inputs.values(), columns.label)
    rows = rows_of(table, columns)
    _normalise(table, rows, columns, labels)
    refuse(rows.unreadable[:1])
    return Cleaned(_kept(table, rows, columns), tuple(rows.dropped), tuple(rows.changed), ())


def survey(
    table: Table, columns: Columns, labels: Sequence[str] | None
) -> tuple[Cleaned, list[LabelFault]]:
    """What `clean` would do, with every fault of the labels listed instead of the first raised.

    Raises:
        DataError: If a column is absent or no row is left.
    """
    table.require(*columns.inputs.values(), *([columns.label] if columns.label else []))
    rows = rows_of(table, columns)
    return _survey(table, rows, columns, labels, True)


def _survey(
    table: Table, rows: Rows, columns: Columns, labels: Sequence[str] | None, near: bool
) -> tuple[Cleaned, list[LabelFault]]:
    label = columns.label
    _normalise(table, rows, columns, labels)
    # Undeclared labels are looked for before duplicates go, so that each of their rows is named.
    faults = misplaced(_labelled(rows), rows.alive_inputs()) if label and not rows.table else []
    told = {fault.label for fault in faults}
    faults += [f for f in _faults(rows, label, labels) if labels and f.label not in labels]
    if len(columns.words) > 1:
        rows.drop(swapped(rows.inputs, rows.alive))
    conflicts = repeated(rows)
    if near:
        nearly_repeated(rows)
    faults += [f for f in _faults(rows, label, labels) if not labels or f.label in labels]
    # Whoever is told that a cell stands in the wrong column need not hear that its label is new.
    faults = [f for i, f in enumerate(faults) if i < len(told) or f.label not in told]
    faults = [*rows.unreadable, *faults]
    cleaned = Cleaned(
        _kept(table, rows, columns), tuple(rows.dropped), tuple(rows.changed), tuple(conflicts)
    )
    return cleaned, faults


def _kept(table: Table, rows: Rows, columns: Columns) -> pl.DataFrame:
    """The rows that are still in, with texts and answers in their usual form."""
    # Columns are as they came, and where no row went, so is the frame: histories are large.
    texts = {c: rows.inputs[role] for role, c in columns.inputs.items() if role != COLUMNS}
    columns_now = {**texts, **({columns.label: rows.labels} if columns.label else {})}
    kept = table.frame if len(rows.alive) == len(table) else table.frame[rows.alive]
    return kept.with_columns(
        pl.Series(name, [values[i] for i in rows.alive], dtype=pl.String)
        for name, values in columns_now.items()
    )


def _faults(rows: Rows, label: str, labels: Sequence[str] | None) -> list[LabelFault]:
    # What is listed is known without a row; what is written has no labels.
    if not label or not rows.alive or isinstance(rows.target, Listed | Written):
        return []
    answers = rows.answers(rows.alive)
    if are_numbers(answers):
        return number_faults(answers, rows.places[rows.alive[0]], labels)
    return label_faults(_labelled(rows), labels, rows.target.least)


def _labelled(rows: Rows) -> Labelled:
    return Labelled(
        [rows.places[i] for i in rows.alive],
        [names_of(answer) for answer in rows.answers(rows.alive)],
        [rows.splits[i] for i in rows.alive],
    )


def _normalise(table: Table, rows: Rows, columns: Columns, labels: Sequence[str] | None) -> None:
    """Bring texts and answers into their usual form, and drop the rows that lack one.

    Raises:
        DataError: If no row is left.
    """
    label = columns.label
    _read_rows(rows, labelled=bool(label), declared=labels or ())
    if not rows.alive and not rows.unreadable:
        first = rows.dropped[0]
        named = " and ".join(map(repr, columns.words)) or "data.columns"
        holds = (
            f"{named} holds the texts" if len(columns.inputs) == 1 else f"{named} hold the texts"
        )
        holds += f" and {label!r} the labels" if label else ""
        raise DataError(
            f"All {len(table):,} rows were dropped; the first, {place(first.file, first.row)}:"
            f" {first.reason}.",
            fix=f"check that {holds}.",
        )


def _read_rows(rows: Rows, *, labelled: bool, declared: Sequence[str]) -> None:
    gone: dict[int, tuple[str, str]] = {}
    if labelled:
        rows.target = read_among(rows.target, rows.labels, declared)
    for i in rows.alive:
        found = {role: _read(v[i]) for role, v in rows.inputs.items() if role != COLUMNS}
        empty = next((role for role, (text, _) in found.items() if not text), None)
        if empty is not None and not rows.table:
            gone[i] = (f"empty {empty}", found[empty][1][0])
        elif labelled and (why := _unlabelled(rows.labels[i], declared)):
            gone[i] = ("no label", why)
        elif labelled and (why := _answer(rows, i, declared)):
            gone[i] = ("unreadable answer", why)
        else:
            for role, (text, _) in found.items():
                rows.inputs[role][i] = text
            reasons = list(dict.fromkeys(w for t, told in found.values() if t for w in told))
            if reasons:
                text = excerpt(shown(rows.text(i)))
                rows.changed.append(
                    Change(*rows.places[i], "changed", reasons[0], "; ".join(reasons), text)
                )
    rows.drop(gone)


def _answer(rows: Rows, i: int, declared: Sequence[str]) -> str:
    """Put the answer's text in the cell's place; why there is none, else empty."""
    given, text = rows.labels[i] or "", rows.text(i)
    try:
        rows.labels[i] = read_answer(
            rows.target, given, declared, text, lambda t: normalise_text(t)[0]
        )
    except Unreadable as error:
        rows.unreadable.append(LabelFault("", (rows.places[i],), error.what, error.fix))
        return error.what
    return ""


def _read(given: str | None) -> tuple[str, tuple[str, ...]]:
    """A text in its usual form and what changed it; empty, and why, where there is none."""
    if given is None:
        return "", ("the cell is missing",)
    text, reasons = normalise_text(given)
    if not text:
        return "", ("nothing is left once spaces and control characters go",)
    if text.casefold() in MISSING_TEXT:
        return "", (f"the cell reads {text!r}, a mark of a missing value",)
    return text, reasons


def _unlabelled(label: str | None, declared: Sequence[str]) -> str:
    if label is None or not label.strip():
        return "the cell is missing"
    if label.strip().casefold() in MISSING_LABEL and label.strip() not in declared:
        return f"the cell reads {label.strip()!r}, a mark of a missing value"
    return ""

"""`sartor data check`: every fault of the data at once, each with its row and its fix."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sartor.core.errors import DataError
from sartor.core.near import near_miss
from sartor.data.api import Limits
from sartor.data.cells import join_cells
from sartor.data.changes import Change
from sartor.data.clean import survey
from sartor.data.histories import history_faults, join_histories, made_of
from sartor.data.marks import join_marks, mark_faults
from sartor.data.profile import row_places
from sartor.data.read import join, read
from sartor.data.starts import join_starts
from sartor.data.table import CELLS, SPLITS, Columns, Table
from sartor.data.times import times_of
from sartor.data.words import join_words, word_faults


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know about the data.

    Args:
        level: "fault" stops a run; "note" says what a run would do by itself.
        file: As in `__file__`; empty where no one file is to blame.
        row: As in `__row__`; 0 where no one row is to blame.
        what: What is wrong.
        fix: What to do.
    """

    level: Literal["fault", "note"]
    file: str
    row: int
    what: str
    fix: str


def check(
    sources: Mapping[str, Sequence[str | object]],
    root: Path,
    columns: Columns,
    *,
    labels: Sequence[str] | None = None,
    limits: Limits | None = None,
) -> list[Finding]:
    """List everything that is wrong with the data, faults first.

    Args:
        sources: "train", "validation", "test" to sources, as `read_splits` takes them.
        root: Folder of the need file.
        columns: Parts of the columns.
        labels: The need's declared labels, or None.
        limits: Of the readers.
    """
    tables, found = _read(sources, root, limits)
    if tables:
        table = join_starts(join(tables), columns)
        marks = [*mark_faults(table, columns), *word_faults(table, columns)]
        found += [
            Finding("fault", *place, fault.what, f"{fault.fix}.")
            for fault in marks
            for place in fault.rows
        ]
        table = table if marks else join_marks(join_words(table, columns), columns)
        joined = {columns.label} if marks else set[str]()
        made = {CELLS, *made_of(columns)}
        cells = () if columns.user else columns.cells
        wanted = dict.fromkeys(n for n in (*cells, *columns.names()) if n not in made)
        absent = [n for n in wanted if n not in table.columns and n not in joined]
        found += [
            Finding("fault", "", 0, f"no column is called {name!r}", near_miss(name, table.columns))
            for name in absent
        ]
        if columns.user:
            found += [] if absent else _moments(table, columns)
        elif not {*columns.words, *columns.cells, columns.label} & set(absent) and not marks:
            found += _rows(table, columns, labels)
        if columns.time and columns.time not in absent:
            found += _times(table, columns.time)
    return sorted(found, key=lambda finding: finding.level)


def _read(
    sources: Mapping[str, Sequence[str | object]], root: Path, limits: Limits | None
) -> tuple[list[Table], list[Finding]]:
    """Read source by source, so that one broken file does not hide the next."""
    tables: list[Table] = []
    found: list[Finding] = []
    for name in SPLITS:
        for source in sources.get(name, ()):
            try:
                fixed = None if name == "train" else name
                tables.append(read([source], root, split=fixed, limits=limits))
            except DataError as error:
                shown = source if isinstance(source, str) else type(source).__name__
                found.append(Finding("fault", shown, 0, error.what, error.fix))
    return tables, found


def _rows(table: Table, columns: Columns, labels: Sequence[str] | None) -> list[Finding]:
    try:
        table, columns = join_cells(table, columns)
        cleaned, faults = survey(table, columns, labels)
    except DataError as error:
        return [Finding("fault", "", 0, error.what, error.fix)]
    found = [
        # A declared label without rows stops nobody: the rows may come later.
        Finding("fault" if fault.rows else "note", file, row, fault.what, f"{fault.fix}.")
        for fault in faults
        for file, row in fault.rows or (("", 0),)
    ]
    return found + [_note(change) for change in cleaned.changes]


def _moments(table: Table, columns: Columns) -> list[Finding]:
    """Of rows that are choices or answers: every fault, or what became of them."""
    faults = history_faults(table, columns)
    if faults:
        return [
            Finding("fault", *place, fault.what, f"{fault.fix}.")
            for fault in faults
            for place in fault.rows
        ]
    try:
        made = join_histories(table, columns)
    except DataError as error:
        return [Finding("fault", "", 0, error.what, error.fix)]
    said = Finding("note", "", 0, made.said.rstrip("."), "a run learns from the moments.")
    return [said, *map(_note, made.changes)]


def _note(change: Change) -> Finding:
    what = f"{change.reason}: {change.detail}" if change.detail else change.reason
    would = "a run drops the row" if change.action == "dropped" else "a run reads it so"
    return Finding("note", change.file, change.row, what, f"{would}; correct it if that is wrong.")


def _times(table: Table, column: str) -> list[Finding]:
    try:
        times_of(table.frame[column], row_places(table.frame))
    except DataError as error:
        return [Finding("fault", "", 0, error.what, error.fix)]
    return []

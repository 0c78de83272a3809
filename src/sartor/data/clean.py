"""Clean: normalise, drop what cannot teach, list every row that is not as it was given.

Where the same text lies in several official splits, the test row stays: a training row that
repeats it would let the model learn the exam.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from sartor.core.errors import DataError
from sartor.core.strata import names_of
from sartor.core.texts import COLUMNS, Text, shown
from sartor.data.changes import Change, excerpt
from sartor.data.labels import LabelFault, Labelled, label_faults, refuse
from sartor.data.near import near_clusters
from sartor.data.normalise import (
    MISSING_LABEL,
    MISSING_TEXT,
    content_id,
    normalise_text,
)
from sartor.data.numbers import are_numbers, number_faults
from sartor.data.sides import misplaced, swapped
from sartor.data.table import FILE, ROW, SPLIT, Columns, Table, place, texts_of
from sartor.tasks import Listed, Several, Target, Unreadable, Written, read_answer
from sartor.tasks._target.one_label import ONE_LABEL

DROP_NEAR = 0.9
"""Above this similarity a row of the same label teaches nothing new."""
_RANK = {"test": 0, "validation": 1}
_TRAIN = 2


@dataclass(frozen=True, slots=True)
class Conflict:
    """One text with more than one label.

    Args:
        text: Excerpt.
        labels: The labels found, sorted.
        rows: File and row of each.
    """

    text: str
    labels: tuple[str, ...]
    rows: tuple[tuple[str, int], ...]


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


@dataclass(slots=True)
class _Rows:
    """The columns being worked on, and the books. `alive` holds indices still in."""

    inputs: dict[str, list[str | None]]
    labels: list[str | None]
    places: list[tuple[str, int]]
    splits: list[str | None]
    alive: list[int]
    target: Target = ONE_LABEL
    table: bool = False
    """Whether a row holds columns: then a text may be empty, and equal rows are two cases."""
    unreadable: list[LabelFault] = field(default_factory=list[LabelFault])
    known: Mapping[str, str] = field(default_factory=dict[str, str])
    ranks: dict[int, tuple[int, bool]] = field(default_factory=dict[int, tuple[int, bool]])
    dropped: list[Change] = field(default_factory=list[Change])
    changed: list[Change] = field(default_factory=list[Change])

    def text(self, i: int) -> Text:
        """What the model reads of a row."""
        found = tuple(values[i] or "" for values in self.inputs.values())
        return found[0] if len(found) == 1 else found

    def wordless(self, i: int) -> bool:
        """Whether a row holds columns and no text."""
        return self.table and not any(v[i] for role, v in self.inputs.items() if role != COLUMNS)

    def drop(self, gone: dict[int, tuple[str, str]]) -> None:
        """Drop rows: index to (reason, detail)."""
        for i in sorted(gone):
            reason, detail = gone[i]
            self.dropped.append(
                Change(*self.places[i], "dropped", reason, detail, excerpt(shown(self.text(i))))
            )
        self.alive = [i for i in self.alive if i not in gone]

    def alive_inputs(self) -> dict[str, list[str]]:
        """Role to the texts of the rows that are still in."""
        return {r: [values[i] or "" for i in self.alive] for r, values in self.inputs.items()}

    def answers(self, some: Sequence[int]) -> list[Any]:
        """The answers of rows that have one, in the task's form."""
        return [self.target.value(self.labels[i] or "") for i in some]

    def where(self, i: int) -> str:
        return place(*self.places[i])

    def rank(self, i: int) -> tuple[int, bool, int]:
        """Test rows first, then validation rows, then the order of the file.

        Of copies with the same role, the one that its file makes official goes first: a run that
        is repeated must keep the same copy.
        """
        if i not in self.ranks:
            official = self.splits[i] or ""
            role = official
            # A row that an earlier run tested on stays, whatever file a copy of it arrives in.
            if self.known and official != "test":
                name = content_id({role: values[i] or "" for role, values in self.inputs.items()})
                role = self.known.get(name, official)
            self.ranks[i] = _RANK.get(role, _TRAIN), role != official
        return *self.ranks[i], i


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
    rows = _rows_of(table, columns)
    rows.known = known or {}
    cleaned, faults = _survey(table, rows, columns, labels, near_duplicates)
    refuse([fault for fault in faults if fault.rows])
    return cleaned


def survey(
    table: Table, columns: Columns, labels: Sequence[str] | None
) -> tuple[Cleaned, list[LabelFault]]:
    """What `clean` would do, with every fault of the labels listed instead of the first raised.

    Raises:
        DataError: If a column is absent or no row is left.
    """
    table.require(*columns.inputs.values(), *([columns.label] if columns.label else []))
    rows = _rows_of(table, columns)
    return _survey(table, rows, columns, labels, True)


def _survey(
    table: Table, rows: _Rows, columns: Columns, labels: Sequence[str] | None, near: bool
) -> tuple[Cleaned, list[LabelFault]]:
    label = columns.label
    _normalise(rows, labelled=bool(label), declared=labels or ())
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
    # Undeclared labels are looked for before duplicates go, so that each of their rows is named.
    faults = misplaced(_labelled(rows), rows.alive_inputs()) if label and not rows.table else []
    told = {fault.label for fault in faults}
    faults += [f for f in _faults(rows, label, labels) if labels and f.label not in labels]
    if len(columns.words) > 1:
        rows.drop(swapped(rows.inputs, rows.alive))
    conflicts = _repeated(rows)
    if near:
        _nearly_repeated(rows)
    faults += [f for f in _faults(rows, label, labels) if not labels or f.label in labels]
    # Whoever is told that a cell stands in the wrong column need not hear that its label is new.
    faults = [f for i, f in enumerate(faults) if i < len(told) or f.label not in told]
    faults = [*rows.unreadable, *faults]
    # Columns are as they came, and where no row went, so is the frame: histories are large.
    texts = {c: rows.inputs[role] for role, c in columns.inputs.items() if role != COLUMNS}
    columns_now = {**texts, **({label: rows.labels} if label else {})}
    kept = table.frame if len(rows.alive) == len(table) else table.frame[rows.alive]
    frame = kept.with_columns(
        pl.Series(name, [values[i] for i in rows.alive], dtype=pl.String)
        for name, values in columns_now.items()
    )
    return Cleaned(frame, tuple(rows.dropped), tuple(rows.changed), tuple(conflicts)), faults


def _rows_of(table: Table, columns: Columns) -> _Rows:
    label = columns.label
    return _Rows(
        inputs={role: texts_of(table.frame[name]) for role, name in columns.inputs.items()},
        labels=texts_of(table.frame[label]) if label else [None] * len(table),
        places=list(zip(table.frame[FILE], table.frame[ROW], strict=True)),
        splits=table.frame[SPLIT].to_list(),
        alive=list(range(len(table))),
        target=columns.target,
        table=bool(columns.cells),
    )


def _faults(rows: _Rows, label: str, labels: Sequence[str] | None) -> list[LabelFault]:
    # What is listed is known without a row; what is written has no labels.
    if not label or not rows.alive or isinstance(rows.target, Listed | Written):
        return []
    answers = rows.answers(rows.alive)
    if are_numbers(answers):
        return number_faults(answers, rows.places[rows.alive[0]], labels)
    return label_faults(_labelled(rows), labels, rows.target.least)


def _labelled(rows: _Rows) -> Labelled:
    return Labelled(
        [rows.places[i] for i in rows.alive],
        [names_of(answer) for answer in rows.answers(rows.alive)],
        [rows.splits[i] for i in rows.alive],
    )


def _normalise(rows: _Rows, *, labelled: bool, declared: Sequence[str]) -> None:
    gone: dict[int, tuple[str, str]] = {}
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


def _answer(rows: _Rows, i: int, declared: Sequence[str]) -> str:
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


def _repeated(rows: _Rows) -> list[Conflict]:
    """Drop repeated texts, and texts whose labels contradict each other.

    Two cases may agree in all their columns, so those without a text stay.
    """
    same: dict[Text, list[int]] = defaultdict(list)
    for i in rows.alive:
        if not rows.wordless(i):
            same[rows.text(i)].append(i)
    gone: dict[int, tuple[str, str]] = {}
    conflicts: list[Conflict] = []
    for text, group in same.items():
        if len(group) == 1:
            continue
        group.sort(key=rows.rank)
        found = sorted({rows.labels[i] or "" for i in group})
        joins = isinstance(rows.target, Several | Written) or are_numbers(rows.answers(group))
        if len(found) > 1 and not joins:
            conflicts.append(
                Conflict(excerpt(shown(text)), tuple(found), tuple(rows.places[i] for i in group))
            )
        gone.update(_judge_group(rows, group))
    rows.drop(gone)
    return conflicts


def _judge_group(rows: _Rows, group: list[int]) -> dict[int, tuple[str, str]]:
    """Which rows of one text go; `group` is in rank order."""
    first = group[0]
    # Rows of the highest split decide: a training row cannot throw out a test row.
    peers = [i for i in group if rows.rank(i)[:2] == rows.rank(first)[:2]]
    if isinstance(rows.target, Written):  # a text may have several right replies
        same = _copy_of(rows, first)
        other = "another reply", f"to the text of {rows.where(first)}"
        return {i: same if rows.labels[i] == rows.labels[first] else other for i in group[1:]}
    if len({rows.labels[i] for i in peers}) > 1 and isinstance(rows.target, Several):
        rows.labels[first] = rows.target.joined([rows.labels[i] or "" for i in peers])
        joined = ("repeated text", f"its answer joins those of {rows.where(first)}")
        return {i: joined if i in peers else _copy_of(rows, first) for i in group[1:]}
    if len({rows.labels[i] for i in peers}) > 1:
        if are_numbers(numbers := rows.answers(peers)):
            return _averaged(rows, group, peers, numbers)
        told = "; ".join(f"{rows.labels[i]!r} at {rows.where(i)}" for i in group[:4])
        return {i: ("conflicting labels", told) for i in group}
    gone: dict[int, tuple[str, str]] = {}
    for i in group[1:]:
        if rows.labels[i] == rows.labels[first]:
            gone[i] = _copy_of(rows, first)
        else:
            told = f"{rows.labels[i]!r} here, {rows.labels[first]!r} at {rows.where(first)}"
            gone[i] = ("conflicting labels", told)
    return gone


def _averaged(
    rows: _Rows, group: list[int], peers: list[int], numbers: Sequence[float]
) -> dict[int, tuple[str, str]]:
    """The first of the peers takes the mean of what several raters gave the same text."""
    first, mean = peers[0], rows.target.text(sum(numbers) / len(numbers))
    told = ", ".join(rows.labels[i] or "" for i in peers[:8]) + (" …" if len(peers) > 8 else "")
    rows.labels[first] = mean
    text = excerpt(shown(rows.text(first)))
    detail = f"{mean} is the mean of {told}"
    rows.changed.append(Change(*rows.places[first], "changed", "averaged", detail, text))
    gone = {i: ("averaged", f"into {rows.where(first)}") for i in peers[1:]}
    return {i: gone.get(i, _copy_of(rows, first)) for i in group if i != first}


def _copy_of(rows: _Rows, first: int) -> tuple[str, str]:
    return "duplicate", f"of {rows.where(first)}"


def _nearly_repeated(rows: _Rows) -> None:
    """Drop rows that nearly repeat an earlier row of the same label; never a held-out row."""
    order = sorted((i for i in rows.alive if not rows.wordless(i)), key=rows.rank)
    if not order:
        return
    # Rows of several texts are near where all of their texts are; columns, where they are equal.
    found: list[list[Any]] = [
        [values[i] for i in order]
        if role == COLUMNS
        else near_clusters([values[i] or "" for i in order], threshold=DROP_NEAR).tolist()
        for role, values in rows.inputs.items()
    ]
    kept: dict[tuple[tuple[Any, ...], str | None], int] = {}
    gone: dict[int, tuple[str, str]] = {}
    for i, cluster in zip(order, zip(*found, strict=True), strict=True):
        first = kept.setdefault((cluster, rows.labels[i]), i)
        if first != i and rows.rank(i)[0] == _TRAIN:
            gone[i] = ("near duplicate", f"of {rows.where(first)}")
    rows.drop(gone)

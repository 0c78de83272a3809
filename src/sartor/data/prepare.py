"""From a need's sources to examples: read, merge corrections, clean, then split.

Two steps, because the sizes of the split depend on what the first step found.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from sartor.core.errors import DataError
from sartor.core.histories import ANSWERS, HISTORY, ITEMS
from sartor.core.strata import counted_under
from sartor.core.texts import COLUMNS, shown
from sartor.core.types import ITEM, SKILL, USER, Examples
from sartor.data.cells import join_cells, refuse_clashes
from sartor.data.changes import Change, excerpt, summary
from sartor.data.clean import Cleaned, clean, normalised
from sartor.data.examples import to_examples
from sartor.data.feedback import merge_feedback
from sartor.data.histories import join_histories
from sartor.data.marks import join_marks
from sartor.data.near import row_clusters
from sartor.data.profile import row_places
from sartor.data.read import read_splits
from sartor.data.split import Rows, split
from sartor.data.starts import join_starts
from sartor.data.table import CELLS, FILE, ROW, SPLIT, Columns, Table, texts_of
from sartor.data.times import times_of
from sartor.data.words import join_words
from sartor.need.model import Data
from sartor.tasks import Listed, Located, Parted, Target
from sartor.tasks._target.one_label import ONE_LABEL

_VALIDATION_SHARE = 0.15
_TEST_SHARES = (0.15, 0.3)
"""Between these shares of the rows, the test set is as large as the criteria ask."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """Clean rows before they are split.

    Args:
        table: As read, before anything was dropped.
        cleaned: The rows that stay, and what happened to the others.
        corrections: Number of corrections that became training rows or relabelled one.
        columns: Which column plays which part.
        said: What the rows were made of, in a sentence; "" where they are as the files hold them.
    """

    table: Table
    cleaned: Cleaned
    corrections: int
    columns: Columns
    said: str = ""

    def label_counts(self) -> dict[str, int]:
        """Rows by label, most frequent first; of numbers by parts of their range."""
        names = _labels(self.cleaned.frame, self.columns)
        return dict(Counter(name for each in names for name in each).most_common())


@dataclass(frozen=True, slots=True)
class Prepared:
    """Examples by role, and the account of every row that is not among them.

    Args:
        train: Rows to learn from.
        validation: Rows that choose settings and thresholds.
        test: Rows judged once.
        changes: Every row dropped or changed, with file, row and reason.
        assignments: Content id to role; to be stored, so that the next run keeps them.
    """

    train: Examples
    validation: Examples
    test: Examples
    changes: tuple[Change, ...]
    assignments: Mapping[str, str]


def columns_of(
    data: Data, inputs: Sequence[str] = ("text",), target: Target = ONE_LABEL
) -> Columns:
    """Which of the user's columns play a part.

    Args:
        data: The need's `data`.
        inputs: Roles that the model reads, in their order.
        target: The form of the task's answers.

    Raises:
        DataError: If two roles name one column.
    """
    roles = {role: data.roles[role] for role in inputs if role in data.roles}
    for role, column in roles.items():
        if twin := next((r for r, c in roles.items() if c == column and r != role), None):
            raise DataError(
                f"data.{role} and data.{twin} both name the column {column!r}.",
                fix=f"name the column with the other text under data.{twin}.",
            )
    if isinstance(target, Listed) and data.labels:
        target = target.of(data.labels)
    user = roles.pop(USER, "")
    item, skill = roles.pop(ITEM, ""), roles.pop(SKILL, "")
    cells = dict(data.columns or {})
    if user:
        cells = {HISTORY: ANSWERS, ITEM: ITEM, SKILL: SKILL} if item else {HISTORY: ITEMS}
    if cells:
        parts = {**roles, "label": data.roles["label"], "baseline": data.baseline or ""}
        refuse_clashes(cells, {**parts, "id": data.id or ""})
        roles |= {COLUMNS: CELLS}
    # Without times, who answered parts the rows.
    apart = user if item and not data.time else ""
    return Columns(
        text=next(iter(roles.values())),
        label=data.roles["label"],
        group=data.group or apart,
        time=data.time or "",
        baseline=data.baseline or "",
        target=target,
        roles=roles,
        cells=cells,
        user=user,
        item=item,
        skill=skill,
        items={n: data.skills.get(n, "") for n in data.label_descriptions} if item else {},
    )


def gather(
    data: Data,
    root: Path,
    *,
    known: Mapping[str, str],
    columns: Columns | None = None,
    corrections: Sequence[Mapping[str, Any]] = (),
    objects: Mapping[str, Sequence[object]] | None = None,
) -> Gathered:
    """Read, merge corrections and clean.

    Args:
        data: The need's `data`.
        root: Folder its paths are relative to.
        known: Assignments of earlier runs.
        columns: From `columns_of`; those of one text with one label when None.
        corrections: What users sent; goes into training rows only.
        objects: Split name to tables held in Python, instead of the need's files.

    Raises:
        DataError: With file and row, if the data cannot be used.
    """
    columns = columns or columns_of(data)
    sources: Mapping[str, Sequence[object]] = objects or {
        "train": data.train,
        "validation": data.validation or [],
        "test": data.test or [],
    }
    table = join_starts(read_splits(sources, root), columns)
    table = join_marks(join_words(table, columns), columns)
    moments = join_histories(table, columns)
    table, columns = join_cells(moments.table, columns)
    table.require(*columns.names())
    changes = moments.changes
    learnt = 0
    if corrections:
        merged = merge_feedback(table.frame, corrections, columns=columns, known=known)
        table = Table(merged.frame, table.sources)
        changes += merged.relabelled + merged.refused
        learnt = merged.added + len({(c.file, c.row) for c in merged.relabelled})
    cleaned = clean(
        table,
        columns,
        labels=data.labels,
        near_duplicates=data.near_duplicates,
        known=known,
    )
    if changes:
        cleaned = Cleaned(
            cleaned.frame,
            cleaned.dropped + tuple(c for c in changes if c.action == "dropped"),
            cleaned.changed + tuple(c for c in changes if c.action == "changed"),
            cleaned.conflicts,
        )
    return Gathered(table, cleaned, learnt, columns, moments.said)


def sizes(rows: int, wanted_test: int) -> tuple[int, int]:
    """(test rows, validation rows): what the criteria ask for, within sensible shares."""
    low, high = (round(share * rows) for share in _TEST_SHARES)
    return max(min(wanted_test, high), low, 1), max(round(_VALIDATION_SHARE * rows), 1)


def divide(
    gathered: Gathered,
    *,
    wanted_test: int,
    seed: int,
    known: Mapping[str, str],
) -> Prepared:
    """Split clean rows into training, validation and test examples.

    Args:
        gathered: From `gather`.
        wanted_test: Test rows that the criteria ask for.
        seed: Draws the rows that no earlier run has assigned.
        known: Assignments of earlier runs: a test row stays a test row.

    Raises:
        DataError: If a set would be empty.
    """
    frame, columns = gathered.cleaned.frame, gathered.columns
    # What is listed needs no row to be learnt from: any row may be drawn.
    listed = isinstance(columns.target, Listed)
    labels = [""] * len(frame) if listed else _labels(frame, columns)
    everything = to_examples(frame, columns.inputs, columns.label, columns.target, columns.group)
    several = len(columns.words) > 1
    fixed = frame[SPLIT].to_list()
    # A large test file says nothing of how many rows there are to learn from.
    open_ = sum(official != "test" for official in fixed)
    test_rows, validation_rows = sizes(open_, wanted_test)
    rows = Rows(
        ids=everything.ids,
        labels=labels,
        groups=texts_of(frame[columns.group]) if columns.group else None,
        times=times_of(frame[columns.time], row_places(frame)) if columns.time else None,
        near=_near(everything, columns),
        fixed=fixed,
    )
    try:
        found = split(
            rows,
            nearness="shares a text with" if several else "nearly duplicates",
            test_rows=test_rows,
            validation_rows=validation_rows,
            seed=seed,
            known=known,
        )
    except DataError as error:
        raise DataError(f"{error.what}{_dropped_before(gathered)}", fix=error.fix) from None
    lost = tuple(
        Change(
            str(frame[FILE][i]),
            int(frame[ROW][i]),
            "dropped",
            reason,
            "",
            excerpt(shown(everything.texts[i])),
        )
        for i, reason in found.dropped
    )
    return Prepared(
        train=everything.take(found.train),
        validation=everything.take(found.validation),
        test=everything.take(found.test),
        changes=gathered.cleaned.changes + lost,
        assignments=found.assignments,
    )


def _dropped_before(gathered: Gathered) -> str:
    """What became of rows that never came to the split, as a sentence."""
    dropped = gathered.cleaned.dropped
    if not dropped:
        return ""
    why, count = next(iter(summary(dropped).items()))
    total = len(gathered.table)
    return f" {len(dropped):,} of {total:,} rows were dropped before, {count:,} as: {why}."


def _near(everything: Examples, columns: Columns) -> list[int] | None:
    """Clusters of rows that nearly repeat one another; moments do not, equal histories or not.

    Of texts of which one is the group, such as a question beside documents that are known, the
    others may stand anywhere.
    """
    if columns.user:
        return None
    grouped = [role for role, column in columns.inputs.items() if column == columns.group]
    tied = [everything.inputs[role] for role in grouped or everything.inputs]
    if isinstance(columns.target, Located):
        tied = tied[-1:]  # a question may be asked of many contexts, and is no leak
    return [int(c) for c in row_clusters(tied)]


def examples_of(
    source: object,
    data: Data,
    root: Path,
    columns: Columns | None = None,
    labels: Sequence[str] | None = None,
) -> tuple[Examples, tuple[Change, ...]]:
    """Fresh labelled rows as examples, read as a run reads them but not deduplicated.

    Args:
        source: A file, folder, hub id or table held in Python.
        data: Says which columns are text and label.
        root: Folder that a relative path starts from.
        columns: From `columns_of`; those of one text with one label when None.
        labels: Those that there are, where the need declares none and cells may part them.

    Returns:
        The rows that can be judged, and what became of each of the others.

    Raises:
        DataError: With file and row, if the rows cannot be used.
    """
    columns = columns or columns_of(data)
    table = join_words(join_starts(read_splits({"test": [source]}, root), columns), columns)
    moments = join_histories(join_marks(table, columns), columns)
    table, columns = join_cells(moments.table, columns)
    # A fresh column may lack the cells that told a run whether a comma parts labels.
    known = labels if isinstance(columns.target, Parted) else None
    cleaned = normalised(table, columns, labels=data.labels or known)
    inputs, label = columns.inputs, columns.label
    examples = to_examples(cleaned.frame, inputs, label, columns.target, columns.group)
    lost = tuple(change for change in moments.changes if change.action == "dropped")
    return examples, lost + cleaned.dropped


def _labels(frame: pl.DataFrame, columns: Columns) -> list[tuple[str, ...]]:
    return counted_under([columns.target.value(t or "") for t in texts_of(frame[columns.label])])

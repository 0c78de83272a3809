"""Who answered what, and whether it was right, to rows with the answers before each.

A file of answers has a row for each, with its learner, its item and whether it was right; the time
too, where it is known, else the rows are in their order. A row becomes: the item that is asked, the
history of that learner's earlier answers, and, as its answer, whether this one was right. Of two
answers at one time the upper row comes first. An item may be answered again. Its skill is what rows
name, or the file of the items where there is one; a row that leaves it out takes that of others.
"""

from collections import Counter
from collections.abc import Sequence

import polars as pl

from sartor.core.errors import DataError
from sartor.core.histories import HISTORY, LENGTH, MOST_ID
from sartor.core.texts import Cells
from sartor.core.types import ITEM, SKILL
from sartor.data.labels import LabelFault, refuse
from sartor.data.moments import HISTORY_LENGTH, Moments
from sartor.data.normalise import MISSING_LABEL, MISSING_TEXT
from sartor.data.profile import row_places
from sartor.data.table import CELLS, FILE, MOMENT, ROW, Columns, Table, named, place, texts_of
from sartor.data.times import times_of
from sartor.tasks import Unreadable
from sartor.tasks._target.cells import unlisted
from sartor.tasks._target.right_wrong import RIGHT

ANSWERED_BEFORE = "answered_before"
"""Column that a row has beside the user's own: how often anybody had answered its item before."""
MADE = (ANSWERED_BEFORE, HISTORY_LENGTH)


def join_answers(table: Table, columns: Columns) -> Moments:
    """One row an answer, with the history before it.

    Args:
        table: As read.
        columns: `user`, `item` and the label; `skill` and `time` where there are such columns, and
            `items` where a file lists them.

    Raises:
        DataError: With file and row, if a cell is missing or cannot be read, or an item has two
            skills; if a column is absent or has a name that is made of the rows.
    """
    table.require(*columns.own)
    taken = [name for name in MADE if name in table.columns and name not in columns.own]
    if taken:
        raise DataError(
            f"The column {taken[0]!r} has the name of what is made of the rows: {', '.join(MADE)}.",
            fix="rename it.",
        )
    refuse(answer_faults(table, columns))
    frame = table.frame
    users, items = (_names(frame[name]) for name in (columns.user, columns.item))
    skills = _skills(table, columns, items)
    marks = [int(_mark(cell or "", columns) == RIGHT) for cell in texts_of(frame[columns.label])]
    times = [0.0] * len(items)
    if columns.time:
        times = list(times_of(frame[columns.time], row_places(frame)))
    histories, names = dict[str, list[list[object]]](), Counter[str]()
    answered = Counter[str]()
    order = sorted(range(len(items)), key=lambda at: (times[at], at))
    made: dict[str, list[object]] = {name: [] for name in (*MADE, CELLS, MOMENT)}
    for at in order:
        history = histories.setdefault(users[at], [])
        moment = f"{users[at]}|{times[at]!r}"
        asked = {HISTORY: history[-LENGTH:], ITEM: [items[at]], SKILL: skills[at] or None}
        made[CELLS].append(Cells.of(asked))
        made[ANSWERED_BEFORE].append(answered[items[at]])
        made[HISTORY_LENGTH].append(len(history))
        made[MOMENT].append(f"{moment}|{names[moment]}")
        history.append([items[at], marks[at]])
        names[moment] += 1
        answered[items[at]] += 1
    added = [pl.Series(name, values, strict=False) for name, values in made.items()]
    said = (
        f"{len(items):,} answers of {len(histories):,} learners to {len(answered):,} items,"
        f" {sum(marks) / max(len(marks), 1):.0%} of them right."
    )
    if not columns.time:
        said += " No time is named: rows are in their order, and no learner is in two parts."
    return Moments(Table(frame[order].with_columns(added), table.sources), (), said)


def answer_faults(table: Table, columns: Columns) -> list[LabelFault]:
    """Every row without a learner, an item or a readable answer, and items of two skills."""
    frame = table.frame
    places = list(zip(frame[FILE].to_list(), frame[ROW].to_list(), strict=True))
    users, items = _names(frame[columns.user]), _names(frame[columns.item])
    cells = texts_of(frame[columns.label])
    unread = {cell: _why(cell, columns) for cell in set(cells)}
    unknown = {name: _unknown(name, columns) for name in set(items)}
    found: list[LabelFault] = []
    for lies, user, item, cell in zip(places, users, items, cells, strict=True):
        if not user:
            why = f"column {columns.user!r} names no learner", "fill it in, or drop the row"
        else:
            why = unknown[item] or unread[cell]
        if why is not None:
            found.append(LabelFault("", (lies,), *why))
    return found + _skill_faults(places, items, _skills(table, columns, items), columns)


def _unknown(item: str, columns: Columns) -> tuple[str, str] | None:
    if not item:
        return f"column {columns.item!r} names no item", "fill it in, or drop the row"
    if len(item) > MOST_ID:
        return _too_long(columns.item, item)
    if columns.items and item not in columns.items:
        listed = "no item of data.documents has the id"
        error = unlisted(listed, item, columns.items, "add it to the file of items")
        return error.what, error.fix
    return None


def _too_long(column: str, name: str) -> tuple[str, str]:
    what = f"column {column!r} holds an id of {len(name):,} characters, {name[:40]!r} …"
    return what, f"use at most {MOST_ID}"


def _why(cell: str | None, columns: Columns) -> tuple[str, str] | None:
    """What is wrong with a cell that should say whether an answer was right."""
    plain = (cell or "").strip()
    if not plain or plain.casefold() in MISSING_LABEL:
        what = f"column {columns.label!r} does not say whether the answer was right"
        return what, "fill it in, or drop the row"
    try:
        _mark(plain, columns)
    except Unreadable as error:
        return f"column {columns.label!r}: {error.what}", error.fix
    return None


def _mark(cell: str, columns: Columns) -> str:
    return columns.target.read(cell)


def _skills(table: Table, columns: Columns, items: Sequence[str]) -> list[str]:
    """Of every row the skill that it names, else the one that the file of the items does, else the
    one that other rows of its item do."""
    own = _names(table.frame[columns.skill]) if columns.skill else [""] * len(items)
    known = {item: skill for item, skill in zip(items, own, strict=True) if skill}
    known |= {item: skill for item, skill in columns.items.items() if skill}
    return [skill or known.get(item, "") for skill, item in zip(own, items, strict=True)]


def _skill_faults(
    places: Sequence[tuple[str, int]],
    items: Sequence[str],
    skills: Sequence[str],
    columns: Columns,
) -> list[LabelFault]:
    """Rows that name another skill of an item than its file or most of its rows do, or one that is
    no name."""
    counts, first = dict[str, Counter[str]](), dict[tuple[str, str], str]()
    for lies, item, skill in zip(places, items, skills, strict=True):
        counts.setdefault(item, Counter())[skill] += 1
        first.setdefault((item, skill), f"at {place(*lies)}")
    usual = {item: found.most_common(1)[0][0] for item, found in counts.items()}
    for item, skill in columns.items.items():
        if skill:
            usual[item], first[item, skill] = skill, "in data.documents"
    found: list[LabelFault] = []
    for lies, item, skill in zip(places, items, skills, strict=True):
        if len(skill) > MOST_ID:
            found.append(LabelFault("", (lies,), *_too_long(columns.skill, skill)))
        elif skill != (other := usual[item]):
            what = f"item {item!r} has the skill {skill!r} here and {other!r} {first[item, other]}"
            fix = "give each item one skill, e.g. 'fractions and decimals' where it needs both"
            found.append(LabelFault("", (lies,), what, fix))
    return found


def _names(column: pl.Series) -> list[str]:
    """Cells as ids; empty where one holds nothing, or a mark of a missing value."""
    names = map(named, texts_of(column))
    return ["" if name.casefold() in MISSING_TEXT else name for name in names]

"""Who chose what and when, to moments: what somebody chose before, and what they chose then.

A file of choices has a row for each, with its user, its item and its time. All choices of one user
at one time are a moment; it becomes a row, whose history is what that user chose earlier, in the
order of time, and whose answer is what they chose then. Nothing of a row lies behind its time, so
that a split by time keeps the future out of what is learnt.

What a user chose before and chooses again teaches nothing about what to recommend, unless items
come again as a rule: see `AGAIN`.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sartor.core.errors import DataError
from sartor.core.histories import HISTORY, LENGTH, MOST_LISTED
from sartor.core.texts import Cells
from sartor.data.changes import Change
from sartor.data.labels import LabelFault, refuse
from sartor.data.normalise import MISSING_TEXT
from sartor.data.profile import row_places
from sartor.data.table import CELLS, FILE, MOMENT, ROW, Columns, Table, texts_of
from sartor.data.times import times_of
from sartor.tasks import Unreadable

CHOSEN_BEFORE, HISTORY_LENGTH, MOST_CHOSEN = "chosen_before", "history_length", "most_chosen"
"""Columns that a moment has beside the user's own: how often anybody had chosen its item before
(of several items the rarest), how many items its history holds, and the items that had been chosen
most often until then, the best first, but for those of the history."""
MADE = (CHOSEN_BEFORE, HISTORY_LENGTH, MOST_CHOSEN)
AGAIN = 0.05
"""Share of choices that repeat one of the user's own, from which on items are taken to come again
as a rule."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Rows that can be learnt from.

    Args:
        table: One row a moment, in the order of time.
        changes: Choices that are in no moment's answer, each with its reason.
        said: What was found, in a sentence; "" where the rows are no choices.
    """

    table: Table
    changes: tuple[Change, ...] = ()
    said: str = ""


@dataclass(frozen=True, slots=True)
class _Choice:
    """One row of the file: its place in the table, its time and its items."""

    at: int
    time: float
    items: tuple[str, ...]


def join_moments(table: Table, columns: Columns) -> Moments:
    """The moments of a file of choices; other rows as they are.

    Args:
        table: As read.
        columns: `user` names the column whose rows are histories; the label names items.

    Raises:
        DataError: With file and row, if a cell is missing, no time or no item; if a column is
            absent, has a name that moments use, or all times are equal.
    """
    if not columns.user:
        return Moments(table)
    table.require(columns.user, columns.label, columns.time)
    if taken := next((name for name in MADE if name in table.columns), None):
        raise DataError(
            f"The column {taken!r} has the name of what is made of the rows: {', '.join(MADE)}.",
            fix="rename it.",
        )
    refuse(moment_faults(table, columns))
    users = [str(user).strip() for user in texts_of(table.frame[columns.user])]
    times = times_of(table.frame[columns.time], row_places(table.frame))
    if len(set(times)) < 2:
        raise DataError(
            f"All {len(table):,} rows have one time in {columns.time!r}: nothing is before or"
            " after.",
            fix="name the column with the time of each choice under data.time.",
        )
    items = [_items(cell, columns) for cell in texts_of(table.frame[columns.label])]
    by_user: dict[str, list[_Choice]] = defaultdict(list)
    for at in sorted(range(len(table)), key=lambda at: (times[at], at)):
        by_user[users[at]].append(_Choice(at, times[at], items[at]))
    return _made(table, columns, by_user)


def moment_faults(table: Table, columns: Columns) -> list[LabelFault]:
    """Every row without a user, or whose item is missing or unknown; columns must be there."""
    users, cells = texts_of(table.frame[columns.user]), texts_of(table.frame[columns.label])
    places = list(zip(table.frame[FILE].to_list(), table.frame[ROW].to_list(), strict=True))
    unread = {cell: _why(cell, columns) for cell in set(cells)}
    found: list[LabelFault] = []
    for place, user, cell in zip(places, users, cells, strict=True):
        if not (plain := (user or "").strip()) or plain.casefold() in MISSING_TEXT:
            why = f"column {columns.user!r} names no user", "fill it in, or drop the row"
        else:
            why = unread[cell]
        if why is not None:
            found.append(LabelFault("", (place,), *why))
    return found


def _why(cell: str | None, columns: Columns) -> tuple[str, str] | None:
    """What is wrong with a cell of items and what to do; None where it can be read."""
    nothing = f"column {columns.label!r} names no item", "fill it in, or drop the row"
    if not (cell or "").strip():
        return nothing
    try:
        return None if _items(cell, columns) else nothing
    except Unreadable as error:
        return error.what, error.fix


def _items(cell: str | None, columns: Columns) -> tuple[str, ...]:
    return tuple(columns.target.value(columns.target.read((cell or "").strip())))


@dataclass(frozen=True, slots=True)
class _Moment:
    """A row to come: when, where its first choice lies, what came before, and what was chosen."""

    time: float
    at: int
    history: list[str]
    wanted: tuple[str, ...]
    name: str


def _made(table: Table, columns: Columns, by_user: Mapping[str, Sequence[_Choice]]) -> Moments:
    each = [[name for choice in choices for name in choice.items] for choices in by_user.values()]
    total = sum(map(len, each))
    repeated = total - sum(len(set(names)) for names in each)
    again = repeated > AGAIN * total
    rows: list[_Moment] = []
    gone: list[_Choice] = []
    for user, choices in by_user.items():
        made, repeats = _of_user(user, choices, again)
        rows += made
        gone += repeats
    rows.sort(key=lambda row: (row.time, row.at))
    text = columns.target.text
    frame = table.frame[[row.at for row in rows]].with_columns(
        pl.Series(CELLS, [Cells.of({HISTORY: row.history}) for row in rows], dtype=pl.String),
        pl.Series(columns.label, [text(row.wanted) for row in rows], dtype=pl.String),
        pl.Series(MOMENT, [row.name for row in rows]),
        pl.Series(HISTORY_LENGTH, [len(row.history) for row in rows], dtype=pl.Int64),
        *_popular(rows, ranked=columns.baseline == MOST_CHOSEN),
    )
    said = f"{total:,} choices of {len(by_user):,} users are {len(rows):,} moments."
    if lone := sum(len({choice.time for choice in choices}) == 1 for choices in by_user.values()):
        said += f" {lone:,} users were there once: they say what newcomers choose, and no more."
    if again:
        said += f" {repeated / total:.0%} repeat what the user had chosen: items may come again."
    return Moments(Table(frame, table.sources), _repeats(table, gone), said)


def _of_user(
    user: str, choices: Sequence[_Choice], again: bool
) -> tuple[list[_Moment], list[_Choice]]:
    """The moments of a user, and the choices that repeat what they had chosen."""
    made, repeats = list[_Moment](), list[_Choice]()
    history, known = list[str](), set[str]()
    for moment in _moments(choices):
        chosen = list(dict.fromkeys(name for choice in moment for name in choice.items))
        if not again:
            repeats += [choice for choice in moment if known.issuperset(choice.items)]
            chosen = [name for name in chosen if name not in known]
        time, at = moment[0].time, moment[0].at
        if chosen:
            name = f"{user}|{time!r}"
            made.append(_Moment(time, at, history[-LENGTH:], tuple(chosen), name))
        history += [name for choice in moment for name in choice.items]
        known.update(chosen)
    return made, repeats


def _moments(choices: Sequence[_Choice]) -> Iterator[list[_Choice]]:
    """The choices of one user, those of one time together."""
    found: list[_Choice] = []
    for choice in choices:
        if found and choice.time != found[0].time:
            yield found
            found = []
        found.append(choice)
    yield found


def _repeats(table: Table, gone: Sequence[_Choice]) -> tuple[Change, ...]:
    files, rows = table.frame[FILE].to_list(), table.frame[ROW].to_list()
    detail = "the user had chosen it before, and items do not come again here"
    return tuple(
        Change(
            str(files[choice.at]),
            int(rows[choice.at]),
            "dropped",
            "repeated choice",
            detail,
            ", ".join(choice.items),
        )
        for choice in gone
    )


def _popular(rows: Sequence[_Moment], *, ranked: bool) -> list[pl.Series]:
    """What was chosen how often before each moment, by anybody; rows of one time do not know of
    one another."""
    names = sorted({name for row in rows for name in row.wanted})
    place = {name: at for at, name in enumerate(names)}
    counts, waiting = np.zeros(len(names), np.int64), Counter[str]()
    before, ranking = list[int](), list[str]()
    now = -np.inf
    for row in rows:
        if row.time > now:
            for name, count in waiting.items():
                counts[place[name]] += count
            waiting.clear()
            now = row.time
        before.append(int(min(counts[place[name]] for name in row.wanted)))
        if ranked:
            seen = [place[name] for name in row.history if name in place]
            ranking.append(json.dumps([names[at] for at in _first(counts, seen)]))
        waiting.update(row.wanted)
    found = [pl.Series(CHOSEN_BEFORE, before, dtype=pl.Int64)]
    return [*found, pl.Series(MOST_CHOSEN, ranking, dtype=pl.String)] if ranked else found


def _first(counts: NDArray[np.int64], gone: Sequence[int]) -> list[int]:
    """Places of the highest counts, the highest first, without those that are gone."""
    wide = counts.copy()
    wide[list(gone)] = 0
    # Places break ties, so that those which come first are the same however they are found.
    keys = np.arange(len(wide)) - wide * len(wide)
    most = min(MOST_LISTED, len(wide))
    some = np.argpartition(keys, most - 1)[:most]
    return [int(at) for at in some[np.argsort(keys[some])] if wide[at] > 0]

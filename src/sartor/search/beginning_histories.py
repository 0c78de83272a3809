"""`sartor init` for rows that say what users did: what they chose, or what they answered."""

from collections.abc import Mapping
from pathlib import Path

from sartor.core.errors import DataError, SettingError
from sartor.data.documents import read_base
from sartor.data.named import is_named, rank_of
from sartor.data.profile import guess, naming
from sartor.data.table import Table, texts_of
from sartor.search.need_text import ANSWERING, SCHEMA, name_of, quoted, relative, write_need
from sartor.search.recommending import traces
from sartor.tasks import Task, Unreadable


def begin_histories(
    table: Table, files: tuple[str, str | None], to: Path, named: tuple[str, Task]
) -> list[str]:
    """A need for such rows, and what to say of it.

    Args:
        table: The rows.
        files: Where they were read from, and the file of the items, if any.
        to: The need file.
        named: The task, with its name.

    Raises:
        DataError: If a column that it needs cannot be told.
        SettingError: If no file of items is named where there must be one.
    """
    name, asked = named
    begin = _begin_answers if traces(name) else _begin_choices
    return begin(table, files, to, asked)


def _begin_choices(table: Table, files: tuple[str, str | None], to: Path, asked: Task) -> list[str]:
    """A need for rows that say who chose what, and when.

    Raises:
        DataError: If a column that it needs cannot be told.
        SettingError: If no file of items is named.
    """
    data, documents = files
    if documents is None:
        raise SettingError(
            f"{data} says what was chosen, and nothing says what there is to choose from.",
            fix="name the file of the items, with the columns id and text: --documents items.csv.",
        )
    base, frame = read_base([documents], Path()).words, table.frame
    item = naming(frame, base)
    user, time = _who_and_when(table, item)
    found = {"item": item, "user": user, "time": time}
    _refuse_unfound(found, table, (data, to), "data.user, data.label and data.time")
    criteria = asked.starters(0.0, "")
    lines = [
        f"# yaml-language-server: $schema={SCHEMA}",
        f"name: {name_of(data)}",
        "task: recommendation",
        "data:",
        f"  documents: {quoted(relative(documents, to))}   # the items: columns id and text",
        f"  train: {quoted(relative(data, to))}   # a row for each choice",
        f"  user: {quoted(user)}",
        f"  label: {quoted(item or '')}   # what was chosen: ids of items",
        f"  time: {quoted(time)}   # the newest choices become the test set",
        "  baseline: most_chosen   # made of the rows: what had been chosen most until then",
        "accept:",
        *(f"  {line}" for line in criteria),
        *ANSWERING,
        "budget: {minutes: 10}",
        "",
    ]
    write_need(lines, to)
    users = frame[user].n_unique()
    return [
        f"{data}: {len(table):,} choices of {users:,} users among {len(base):,} items."
        f" user = {user}, label = {item}, time = {time}.",
        f"Wrote {to}: task recommendation, criteria to start from.",
        f"Next: sartor plan {to}, then sartor run {to}",
    ]


def _begin_answers(table: Table, files: tuple[str, str | None], to: Path, asked: Task) -> list[str]:
    """A need for rows that say who answered what, and whether it was right.

    Raises:
        DataError: If a column that it needs cannot be told.
    """
    data, documents = files
    frame = table.frame
    item = naming(frame, read_base([documents], Path()).words) if documents else None
    item = item or _named(table, "item", [])
    user, time = _who_and_when(table, item)
    taken = [item, user, time]
    marks = [n for n in table.columns if n not in taken and _are_marks(table, n, asked)]
    label = min(marks, key=lambda name: rank_of(name, "correct"), default="")
    skill = _named(table, "skill", [*taken, label])
    found = {"item": item, "user": user, "answer, right or wrong": label}
    _refuse_unfound(found, table, (data, to), "data.user, data.item and data.label")
    lines = [
        f"# yaml-language-server: $schema={SCHEMA}",
        f"name: {name_of(data)}",
        "task: mastery",
        "data:",
        *([f"  documents: {quoted(relative(documents, to))}   # the items"] if documents else []),
        f"  train: {quoted(relative(data, to))}   # a row for each answer",
        f"  user: {quoted(user)}   # who answered",
        f"  item: {quoted(item or '')}   # what was asked",
        f"  label: {quoted(label)}   # whether the answer was right",
        *([f"  skill: {quoted(skill)}   # what the item is about"] if skill else []),
        f"  time: {quoted(time)}   # the newest answers become the test set"
        if time
        else "  # time: …   # without it rows are in their order, and learners are parted",
        "accept:",
        *(f"  {line}" for line in asked.starters(0.0, "")),
        *ANSWERING,
        "budget: {minutes: 10}",
        "",
    ]
    write_need(lines, to)
    users, items = frame[user].n_unique(), frame[item or ""].n_unique()
    return [
        f"{data}: {len(table):,} answers of {users:,} learners to {items:,} items. user = {user},"
        f" item = {item}, label = {label}"
        + "".join(f", {k} = {v}" for k, v in (("skill", skill), ("time", time)) if v)
        + ".",
        f"Wrote {to}: task mastery, criteria to start from.",
        f"Next: sartor plan {to}, then sartor run {to}",
    ]


def _who_and_when(table: Table, item: str | None) -> tuple[str, str]:
    """Columns of the user and of the time; "" where none looks like it."""
    others = [name for name in table.columns if name != item]
    user = min(others, key=lambda name: rank_of(name, "group"), default="")
    time = min(others, key=lambda name: rank_of(name, "time"), default="")
    time = time if time and is_named(time, "time") else guess(table.frame).time or ""
    return (user if user and is_named(user, "group") else ""), time


def _named(table: Table, part: str, taken: list[str | None]) -> str:
    """The column that is called as such a part usually is, or ""."""
    there = [name for name in table.columns if name not in taken and is_named(name, part)]
    return min(there, key=lambda name: rank_of(name, part), default="")


def _are_marks(table: Table, name: str, asked: Task) -> bool:
    """Whether a column says of each row that it is right or wrong, of some both."""
    cells = {(cell or "").strip() for cell in texts_of(table.frame[name].head(1000))} - {""}
    try:
        return len({asked.target.read(cell) for cell in cells}) > 1
    except Unreadable:
        return False


def _refuse_unfound(
    found: Mapping[str, str | None], table: Table, files: tuple[str, Path], keys: str
) -> None:
    """Refuse to guess where a column that must be named was not found.

    Raises:
        DataError: Naming it.
    """
    data, to = files
    for what, column in found.items():
        if not column:
            raise DataError(
                f"{data}: no column looks like the {what} ({', '.join(table.columns)}).",
                fix=f"write {to} by hand and name the columns under {keys}.",
            )

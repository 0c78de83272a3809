"""What a task whose rows are histories needs before anything is fitted, and its plainest rival."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sartor.core.columns import Column, TableCode
from sartor.core.errors import DataError, Fault, NeedError, SettingError
from sartor.core.histories import HISTORY, ITEMS
from sartor.core.types import USER
from sartor.data.language import languages
from sartor.data.prepare import Prepared
from sartor.need.model import Need
from sartor.search.assess import Held
from sartor.tasks import TASKS
from sartor.tasks.recommendation.spec import chosen_again

_MOST_CELLS = 150_000_000
"""Logits of validation or test rows: 0.6 GB, and twice that while they are ranked."""


def recommends(task: str) -> bool:
    """Whether a task's rows are histories of items."""
    return TASKS.get(task)().roles.holds == "items"


def group_of(need: Need) -> str:
    """The column of what rows are drawn by in intervals, or "": of histories their user."""
    return need.data.roles.get(USER) or need.data.group or ""


def refuse_unread(need: Need, file: str) -> None:
    """What a need says that a task of histories has no use for, or lacks.

    Raises:
        NeedError: If the times or the items are not named, or a user is a group beside.
        SettingError: If it prefers what is for texts alone.
    """
    data, prefer = need.data, need.prefer
    lacking = {
        "data.time is missing": (not data.time, "name the column with the time of each choice."),
        "data.documents is missing": (
            not data.documents,
            "name the file of the items, with the columns id and text.",
        ),
        "data.group is named beside data.user": (
            bool(data.group),
            "leave group out: a user's rows are drawn together as it is.",
        ),
        "data.feedback is true, and a correction has no time": (
            data.feedback,
            "leave it out: add what was chosen to the file, with its user and time.",
        ),
    }
    faults = [Fault(0, what, fix) for what, (there, fix) in lacking.items() if there]
    if faults:
        raise NeedError(file, faults)
    asked = {
        "long_texts: windows": prefer.long_texts == "windows",
        "llm": prefer.llm is not None,
        "pretrain": prefer.pretrain != "none",
        "bundles": bool(prefer.bundles),
    }
    for name, there in asked.items():
        if there:
            raise SettingError(
                f"{file}: prefer.{name} is for tasks of texts alone, and rows of {need.task} are"
                " histories.",
                fix=f"leave {name.partition(':')[0]} out.",
            )


def refuse_too_wide(rows: Prepared, items: int) -> None:
    """Refuse what no memory would hold: logits of all rows and items.

    Raises:
        DataError: With both numbers.
    """
    count = max(len(rows.validation), len(rows.test))
    if count * items > _MOST_CELLS:
        raise DataError(
            f"{count:,} rows to judge on and {items:,} items make {count * items / 1e6:,.0f}"
            f" million scores, more than {_MOST_CELLS / 1e6:,.0f} million.",
            fix="give validation and test files with some of the users, or leave out items that"
            " hardly anybody chose.",
        )


def code_of(outputs: Sequence[str]) -> TableCode:
    """How histories become numbers: places in the list of the items."""
    return TableCode(columns={HISTORY: Column(kind=ITEMS, values=list(outputs))})


def languages_in(need: Need) -> Mapping[str, float]:
    """Share of the items' texts by language."""
    return languages(list(need.data.label_descriptions.values()))


def most_chosen(held: Held, rows: Prepared, shown: int) -> list[dict[str, Any]]:
    """What listing the items that training rows chose most would answer to the test rows.

    Args:
        held: Decodes.
        rows: By role.
        shown: Items that an answer lists.
    """
    places = {name: at for at, name in enumerate(held.outputs)}
    counts = np.zeros(len(places), np.float32)
    for wanted in rows.train.target:
        counts[[places[name] for name in wanted]] += 1
    decision = {"shown": shown, "repeats": chosen_again(rows.train)}
    logits = np.tile(np.log1p(counts), (len(rows.test), 1))
    return held.task.decode(logits, held.outputs, decision, rows.test.texts)

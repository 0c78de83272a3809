"""What a task whose rows are histories needs before anything is fitted, and its plainest rivals."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sartor.core.columns import Column, TableCode
from sartor.core.errors import DataError, Fault, NeedError, SettingError
from sartor.core.histories import ANSWERS, HISTORY, ITEMS
from sartor.core.texts import cells_of
from sartor.core.types import ITEM, SKILL, USER, Examples
from sartor.data.language import languages
from sartor.data.prepare import Prepared
from sartor.need.model import Need
from sartor.search.assess import Held
from sartor.tasks import TASKS
from sartor.tasks._target.right_wrong import RIGHT
from sartor.tasks.recommendation.spec import chosen_again

_MOST_CELLS = 150_000_000
"""Logits of validation or test rows: 0.6 GB, and twice that while they are ranked."""


def reads_histories(task: str) -> bool:
    """Whether a task's rows are histories, of items or of answers to them."""
    return TASKS.get(task)().roles.holds in ("items", "answers")


def traces(task: str) -> bool:
    """Whether a task's rows are histories of answers, and ask for the next one."""
    return TASKS.get(task)().roles.holds == "answers"


def group_of(need: Need) -> str:
    """The column of what rows are drawn by in intervals, or "": of histories their user."""
    return need.data.roles.get(USER) or need.data.group or ""


def refuse_unread(need: Need, file: str) -> None:
    """What a need says that a task of histories has no use for, or lacks.

    Raises:
        NeedError: If what is chosen has no times or no list of items, or a user is a group beside.
        SettingError: If it prefers what is for texts alone.
    """
    data, prefer = need.data, need.prefer
    chooses = not traces(need.task)
    lacking = {
        "data.time is missing": (
            chooses and not data.time,
            "name the column with the time of each choice.",
        ),
        "data.documents is missing": (
            chooses and not data.documents,
            "name the file of the items, with the columns id and text.",
        ),
        "data.group is named beside data.user": (
            bool(data.group),
            "leave group out: a user's rows are drawn together as it is.",
        ),
        "data.feedback is true, and a correction has no time": (
            data.feedback,
            "leave it out: add what came after to the file, with its user and time.",
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
            " come up least.",
        )


def declared_in(need: Need, rows: Prepared) -> list[str] | None:
    """The outputs that are known before the training rows are looked at; None where none are.

    Of items that are answered those of the file, else those of all rows: what a test row asks is
    among them, be it that nobody answered it before.
    """
    if not traces(need.task):
        return need.data.labels
    if need.data.label_descriptions:
        return list(need.data.label_descriptions)
    return sorted(_skill_of(need, rows))


def read_histories(
    need: Need, outputs: Sequence[str], rows: Prepared
) -> tuple[TableCode, Mapping[str, float]]:
    """How histories become numbers, places in the list of the items with their skills; and the
    share of the items' texts by language.

    Args:
        need: With its items, and the skills that their file names.
        outputs: The items.
        rows: By role; they say which skill an item has as well.
    """
    column = Column(kind=ITEMS, values=list(outputs))
    if traces(need.task):
        skill_of = _skill_of(need, rows)
        skills = [skill_of.get(name, "") for name in outputs]
        named = skills if any(skills) else []
        column = Column(kind=ANSWERS, values=list(outputs), skills=named)
    spoken = languages(list(need.data.label_descriptions.values()))
    return TableCode(columns={HISTORY: column}), spoken


def _skill_of(need: Need, rows: Prepared) -> dict[str, str]:
    """Item to its skill, "" where none is named, of all items that rows ask or whose file names
    one."""
    found = dict(need.data.skills)
    for part in (rows.train, rows.validation, rows.test):
        for cells in cells_of(part.texts):
            values = cells.values()
            found |= dict.fromkeys(values[ITEM], values[SKILL] or "")
    return found


def refuse_one_learner(need: Need, rows: Prepared) -> None:
    """Refuse rows of which nothing about other learners can be learnt.

    Raises:
        DataError: If all are of one learner, or their training rows are all right or all wrong.
    """
    if not traces(need.task):
        return
    column = group_of(need)
    parts = (rows.train, rows.validation, rows.test)
    if len({str(user) for part in parts for user in part.extra[column]}) < 2:
        raise DataError(
            f"All rows are of one learner in {column!r}: they say nothing of another.",
            fix="check data.user, or add answers of more learners.",
        )
    if len(set(rows.train.target)) < 2:
        raise DataError(
            f"All {len(rows.train):,} training answers are {rows.train.target[0]}: there is nothing"
            " to tell apart.",
            fix="check data.label, or add answers of the other kind.",
        )


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


def as_the_item_goes(held: Held, rows: Prepared) -> list[dict[str, Any]]:
    """What each item's share of right answers, whoever is asked, would say of the test rows.

    Args:
        held: Decodes.
        rows: By role.
    """
    places = {name: at for at, name in enumerate(held.outputs)}
    right, wrong = np.ones(len(places)), np.ones(len(places))
    for name, target in _asked(rows.train):
        (right if target == RIGHT else wrong)[places[name]] += 1
    # An item that nobody answered is as easy as all are together.
    easy = np.log(right / wrong)
    easy[right + wrong == 2] = np.log(right.sum() / wrong.sum())
    logits = np.tile(easy.astype(np.float32), (len(rows.test), 1))
    return held.task.decode(logits, held.outputs, {}, rows.test.texts)


def _asked(examples: Examples) -> list[tuple[str, str]]:
    """(item, right or wrong) of every row."""
    cells = (each.values()[ITEM][0] for each in cells_of(examples.texts))
    return list(zip(cells, examples.target, strict=True))

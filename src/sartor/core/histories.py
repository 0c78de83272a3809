"""What somebody chose before, as a row of a task that recommends holds it, and as numbers.

    {"history": ["a7", "b2"], "exclude": ["c1"], "k": 5}

`history` is in the order of time, the newest last; `exclude` and `k` may be left out, and only
decide what of the ranking an answer lists. As numbers, a history is the places of its items in the
list of items that the model knows, the newest first.

Where items were answered, right or wrong, a history says so; what is asked about may be named:

    {"history": [{"item": "a7", "correct": true}], "item": "b2", "skill": null, "aim": 0.75}

As numbers, an answer is 2 · place + correct, and how many answers to the same skill came before.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from sartor.core.protocols import Floats
from sartor.core.texts import Cells, Text, cells_of
from sartor.core.types import ITEM, SKILL
from sartor.core.unfit import Unfit

HISTORY, EXCLUDE, COUNT = "history", "exclude", "k"
ITEMS: Literal["items"] = "items"
"""What a column holds that is a list of items."""
ANSWERS: Literal["answers"] = "answers"
"""What a column holds that is a list of answers. One of what is asked about holds `ITEM`, and one
of a skill `SKILL`: those are their keys as well, and a request may leave them out."""
AIM, MASTERED_AT = "aim", "mastered_at"
"""Chance of a right answer that the next item should have, and that of a skill that is mastered."""
LENGTH = 200
"""Items of a history that are read, the newest ones."""
MOST_LISTED = 100
"""Items that an answer lists, at most."""
MOST_SENT, MOST_ID = 10_000, 200
"""Entries of a list that is sent, and characters of an id."""
NONE = -1
"""In an encoded history: no item."""


class NoList(Unfit):
    """A value that is no list of items."""


def read_items(value: Any) -> list[str]:
    """The ids of a list of items.

    Args:
        value: A list of strings or numbers, the same as JSON, or None for none.

    Raises:
        NoList: If it is something else, or too long.
    """
    return [_id(each, place) for place, each in enumerate(_listed(value, ITEMS))]


def _listed(value: Any, what: Literal["items", "answers"]) -> Sequence[object]:
    """A list as it was sent, of ids or of answers."""
    form, fix = _FORMS[what]
    if value is None or (isinstance(value, str) and not value.strip()):
        return []
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise NoList(f"is the text {value!r:.60}, not a list of {form}", fix) from None
    if not isinstance(value, list | tuple):
        raise NoList(f"is {value!r:.60}, not a list of {form}", fix)
    given = cast("Sequence[object]", value)
    if len(given) > MOST_SENT:
        raise NoList(f"holds {len(given):,} {form}", f"send the newest {MOST_SENT:,} at most")
    return given


_FORMS = {
    ITEMS: (
        "ids",
        'send a list of ids, e.g. ["a7", "b2"], the newest last; [] where there is none',
    ),
    ANSWERS: (
        "answers",
        'send a list such as [{"item": "a7", "correct": true}], the newest last; [] where there is'
        " none",
    ),
}


def read_count(value: Any) -> int:
    """How many items an answer is to list.

    Raises:
        NoList: If it is no whole number between 1 and 100.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 1 <= value <= MOST_LISTED or value % 1:
        raise NoList(f"is {value!r:.60}", f"send a whole number from 1 to {MOST_LISTED}")
    return int(value)


def read_share(value: Any) -> float:
    """A probability that is neither 0 nor 1.

    Raises:
        NoList: If it is none.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value < 1:
        raise NoList(f"is {value!r:.60}", "send a number between 0 and 1, e.g. 0.75")
    return float(value)


def read_answers(value: Any) -> list[list[Any]]:
    """The answers of a history, each as [id, 1 where it was right else 0].

    Args:
        value: A list of {"item": id, "correct": true or false} or of such pairs, the same as JSON,
            or None for none.

    Raises:
        NoList: If it is something else, or too long.
    """
    given = _listed(value, ANSWERS)
    return [_answered(each, place) for place, each in enumerate(given)]


def read_asked(value: Any) -> list[str]:
    """The ids of what is asked about: one id, a list of them, or none.

    Raises:
        NoList: If it is something else.
    """
    if isinstance(value, str) and not value.strip().startswith("["):
        return [_id(value, 0)] if value.strip() else []
    if isinstance(value, int | float) and not isinstance(value, bool):
        return [_id(value, 0)]
    return read_items(value)


def read_skill(value: Any) -> str | None:
    """The name of a skill, or None for any.

    Raises:
        NoList: If it is something else.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    return _id(value, 0)


OPTIONS = {EXCLUDE: read_items, COUNT: read_count, AIM: read_share, MASTERED_AT: read_share}
"""Keys that a row with a history may have beside it, to how they are read."""


def options_for(inputs: Mapping[str, str]) -> list[str]:
    """The keys that rows of a model may have and need not.

    Args:
        inputs: Of the manifest: key to what it holds.
    """
    if ANSWERS in inputs.values():
        return [AIM, MASTERED_AT]
    return [EXCLUDE, COUNT] if ITEMS in inputs.values() else []


def left_out(inputs: Mapping[str, str]) -> dict[str, None]:
    """The inputs that a row need not have, with what stands in: nothing.

    Args:
        inputs: Of the manifest: key to what it holds.
    """
    return dict.fromkeys(key for key, kind in inputs.items() if kind in (ITEM, SKILL))


def encode_items(histories: Sequence[Sequence[str] | None], places: Mapping[str, int]) -> Floats:
    """(rows, LENGTH) places of the known items, the newest first, then −1.

    Args:
        histories: Ids, the newest last; None of a row without any.
        places: Of the items that are known.
    """
    found = np.full((len(histories), LENGTH), NONE, np.float32)
    for row, history in enumerate(histories):
        known = [places[name] for name in reversed(history or ()) if name in places][:LENGTH]
        found[row, : len(known)] = known
    return found


def encode_answers(
    histories: Sequence[Sequence[Sequence[Any]] | None],
    places: Mapping[str, int],
    skills: Sequence[str] = (),
) -> Floats:
    """(rows, 2 · LENGTH) of the answers to known items, the newest first, then −1: 2 · place + 1
    where it was right, else 2 · place; and how many of them to the same skill came before.

    Args:
        histories: Answers as `read_answers` gives them, the newest last; None of a row without any.
        places: Of the items that are known.
        skills: Of the items by their places; all are of one where there are none.
    """
    found = np.full((len(histories), 2 * LENGTH), NONE, np.float32)
    for row, history in enumerate(histories):
        known = [(places[name], mark) for name, mark in history or () if name in places][-LENGTH:]
        counts: dict[str, int] = {}
        for at, (place, mark) in enumerate(known):
            skill = skills[place] if skills else ""
            column = len(known) - 1 - at
            found[row, column] = 2 * place + mark
            found[row, LENGTH + column] = counts.get(skill, 0)
            counts[skill] = counts.get(skill, 0) + 1
    return found


def histories_in(texts: Sequence[Text]) -> list[list[str]]:
    """The history of every row that has columns."""
    return [list(cells.values().get(HISTORY) or ()) for cells in cells_of(texts)]


def mask_of(
    cells: Sequence[Cells], places: Mapping[str, int], *, repeats: bool
) -> NDArray[np.bool_]:
    """(rows, items) what a row's answer must not list: what it excludes, and its own history.

    Args:
        cells: One a row.
        places: Of the items.
        repeats: Whether what was chosen may be recommended again.
    """
    found = np.zeros((len(cells), len(places)), bool)
    for row, each in enumerate(cells):
        values = each.values()
        gone = [*(values.get(EXCLUDE) or ()), *(() if repeats else values.get(HISTORY) or ())]
        found[row, [places[name] for name in gone if name in places]] = True
    return found


def _answered(value: object, place: int) -> list[Any]:
    """One answer of a history as [id, 0 or 1]."""
    if isinstance(value, Mapping):
        given = cast("Mapping[str, object]", value)
        if set(given) != {ITEM, "correct"}:
            keys = ", ".join(map(str, given)) or "none"
            raise NoList(f"has the keys {keys} at place {place}", "send item and correct alone")
        name, mark = given[ITEM], given["correct"]
    elif isinstance(value, list | tuple) and len(cast("Sequence[object]", value)) == 2:
        name, mark = cast("Sequence[object]", value)
    else:
        raise NoList(f"holds {value!r:.60} at place {place}, not an answer", _FORMS[ANSWERS][1])
    if not isinstance(mark, bool | int | float) or mark not in (0, 1):
        raise NoList(
            f"has correct = {mark!r:.60} at place {place}", "send true or false, or 1 or 0"
        )
    return [_id(name, place), int(mark)]


def _id(value: object, place: int) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise NoList(f"holds {value!r:.60} at place {place}, not an id", "send ids as strings")
    name = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    name = name.strip()
    if not name or len(name) > MOST_ID:
        raise NoList(
            f"holds an id of {len(name)} characters at place {place}",
            f"send ids of 1 to {MOST_ID} characters",
        )
    try:
        name.encode()
    except UnicodeEncodeError:
        raise NoList(
            f"holds half of a surrogate pair at place {place}", "decode it as UTF-8 before sending"
        ) from None
    return name

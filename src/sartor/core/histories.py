"""What somebody chose before, as a row of a task that recommends holds it, and as numbers.

    {"history": ["a7", "b2"], "exclude": ["c1"], "k": 5}

`history` is in the order of time, the newest last; `exclude` and `k` may be left out, and only
decide what of the ranking an answer lists. As numbers, a history is the places of its items in the
list of items that the model knows, the newest first.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from sartor.core.protocols import Floats
from sartor.core.texts import Cells, Text, cells_of
from sartor.core.unfit import Unfit

HISTORY, EXCLUDE, COUNT = "history", "exclude", "k"
ITEMS = "items"
"""What a column holds that is a list of items."""
LENGTH = 200
"""Items of a history that are read, the newest ones."""
MOST_LISTED = 100
"""Items that an answer lists, at most."""
_MOST_SENT, _MOST_ID = 10_000, 200
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
    fix = 'send a list of ids, e.g. ["a7", "b2"], the newest last; [] where there is none'
    if value is None or (isinstance(value, str) and not value.strip()):
        return []
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise NoList(f"is the text {value!r:.60}, not a list of ids", fix) from None
    if not isinstance(value, list | tuple):
        raise NoList(f"is {value!r:.60}, not a list of ids", fix)
    given = cast("Sequence[object]", value)
    if len(given) > _MOST_SENT:
        raise NoList(f"holds {len(given):,} ids", f"send the newest {_MOST_SENT:,} at most")
    return [_id(each, place) for place, each in enumerate(given)]


def read_count(value: Any) -> int:
    """How many items an answer is to list.

    Raises:
        NoList: If it is no whole number between 1 and 100.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 1 <= value <= MOST_LISTED or value % 1:
        raise NoList(f"is {value!r:.60}", f"send a whole number from 1 to {MOST_LISTED}")
    return int(value)


OPTIONS = {EXCLUDE: read_items, COUNT: read_count}
"""Keys that a row with a history may have beside it, to how they are read."""


def options_for(inputs: Mapping[str, str]) -> list[str]:
    """The keys that rows of a model may have and need not.

    Args:
        inputs: Of the manifest: key to what it holds.
    """
    return list(OPTIONS) if ITEMS in inputs.values() else []


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


def _id(value: object, place: int) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise NoList(f"holds {value!r:.60} at place {place}, not an id", "send ids as strings")
    name = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    name = name.strip()
    if not name or len(name) > _MOST_ID:
        raise NoList(
            f"holds an id of {len(name)} characters at place {place}",
            f"send ids of 1 to {_MOST_ID} characters",
        )
    try:
        name.encode()
    except UnicodeEncodeError:
        raise NoList(
            f"holds half of a surrogate pair at place {place}", "decode it as UTF-8 before sending"
        ) from None
    return name

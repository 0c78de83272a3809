"""What a cell of a file may hold that is more than a word: lists, numbers, names of a list."""

import ast
import json
import unicodedata
from bisect import bisect_left
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any

from sartor.core.near import near_miss
from sartor.tasks import Unreadable

_COMPARED = 100
"""Names that a near miss is looked for among: any row of a large file may be wrong, and each look
costs microseconds a name."""
_SHOWN = 4


def parsed(cell: str) -> Any:
    """A cell as JSON, or as Python writes a constant; nothing is run.

    Raises:
        ValueError: If it is neither.
    """
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(cell)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise ValueError("neither JSON nor a constant") from None


def whole_number(value: Any) -> int | None:
    """A number without a fraction; None where it is none."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else None  # which no NaN and no infinity is
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def unlisted(what: str, name: str, known: Collection[str], instead: str) -> Unreadable:
    """That a name is not of a list.

    Args:
        what: Is wrong, before the name.
        name: Not listed.
        known: The list.
        instead: What to do where the name is right.
    """
    near = nearest(name, known)
    return Unreadable(f"{what} {name[:80]!r}", f"{near} Correct it, or {instead}".strip())


def nearest(name: str, known: Collection[str]) -> str:
    """As `near_miss`, for a list of any length: of a long one what stands around the name."""
    listed = _in_order(frozenset(known))
    same = unicodedata.normalize("NFKC", name)
    beside = [same] if same in known else _beside(name, listed)
    near = near_miss(same, beside, most=_SHOWN)
    if len(listed) > _COMPARED and not near.startswith("did you"):
        some, others = ", ".join(listed[:_SHOWN]), len(listed) - _SHOWN
        near = f"use one of {some} … ({others:,} more)."
    return near


@lru_cache(maxsize=4)
def _in_order(known: frozenset[str]) -> list[str]:
    """A list as a dictionary has it; the same one is asked about for every row that is wrong."""
    return sorted(known, key=lambda name: (name.casefold(), name))


def _beside(name: str, listed: Sequence[str]) -> Sequence[str]:
    """The names among which a near miss is looked for: all, or those around it of many."""
    if len(listed) <= _COMPARED:
        return listed
    at = bisect_left(listed, name.casefold(), key=str.casefold)
    return listed[max(0, at - _COMPARED // 2) : at + _COMPARED // 2]

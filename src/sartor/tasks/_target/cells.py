"""What a cell of a file may hold that is more than a word: lists, numbers, names of a list."""

import ast
import json
from collections.abc import Collection
from typing import Any

from sartor.core.near import near_miss
from sartor.tasks import Unreadable

_COMPARED = 5_000
"""Names among which a near miss is looked for; among more it would take seconds."""


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
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        return None
    return int(value)


def unlisted(what: str, name: str, known: Collection[str], instead: str) -> Unreadable:
    """That a name is not of a list.

    Args:
        what: Is wrong, before the name.
        name: Not listed.
        known: The list.
        instead: What to do where the name is right.
    """
    near = near_miss(name, sorted(known), most=4) if len(known) <= _COMPARED else ""
    return Unreadable(f"{what} {name[:80]!r}", f"{near} Correct it, or {instead}".strip())

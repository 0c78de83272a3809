"""A set of labels a row, however a file writes one.

    ["billing", "refund"]      a JSON list, as .jsonl and .parquet files hold one
    ['billing', 'refund']      what pandas writes into a .csv
    billing; refund            or with | or commas, one kind of mark a cell
    billing                    one label
    []                         none of them: a known answer, where an empty cell is a missing one

or a column of 0 and 1 for each label, named with one star: `topic_*`. The text of a set is a JSON
list, sorted; its value a sorted tuple.
"""

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sartor.tasks import Unreadable
from sartor.tasks._target.cells import parsed

MARKS = ("|", ";", ",")
"""What stands between labels; the first that a cell holds is the one that parts it."""
_MOST_CHARS = 20_000
_MOST_LABELS = 1_000
_SAME = 'write it as a JSON list, e.g. ["billing", "refund"], or with ; between the labels'
# pandas writes 1.0 and 0.0 into a column that has gaps.
_TRUE = frozenset({"1", "1.0", "true", "yes", "x", "y"})
_FALSE = frozenset({"0", "0.0", "false", "no", "", "n"})


@dataclass(frozen=True, slots=True)
class LabelSet:
    """See above."""

    least: int = 2

    def read(self, cell: str, declared: Sequence[str] = ()) -> str:
        cell = cell.strip()
        if len(cell) > _MOST_CHARS:
            raise Unreadable(
                f"the labels are {len(cell):,} characters long, more than {_MOST_CHARS:,}",
                "check that the column holds labels",
            )
        if cell in declared:
            return self.text((cell,))
        if cell.startswith("["):
            return self.text(_listed(cell))
        if cell.startswith("{"):
            raise Unreadable(f"{cell[:80]!r} is an object, not a list of labels", _SAME)
        mark = next((mark for mark in MARKS if mark in cell), None)
        others = [m for m in MARKS[:2] if mark in MARKS[:2] and m != mark and m in cell]
        if others:
            raise Unreadable(f"{cell[:80]!r} parts labels with both {mark} and {others[0]}", _SAME)
        parts = [cell] if mark is None else [part for part in cell.split(mark) if part.strip()]
        return self.text(parts)

    def value(self, text: str) -> tuple[str, ...]:
        return tuple(json.loads(text))

    def text(self, value: Sequence[str]) -> str:
        names = sorted({unicodedata.normalize("NFC", str(name).strip()) for name in value})
        return json.dumps(names, ensure_ascii=False)

    def columns(self, pattern: str, names: Sequence[str]) -> Mapping[str, str]:
        if pattern in names or pattern.count("*") != 1:
            return {}
        before, after = map(re.escape, pattern.split("*"))
        found = ((name, re.fullmatch(f"{before}(.+){after}", name)) for name in names)
        return {name: match.group(1) for name, match in found if match}


def marked(cell: str | None) -> bool:
    """Whether a cell of a column of marks says that the row has the label.

    Raises:
        Unreadable: If it says neither.
    """
    plain = (cell or "").strip().casefold()
    if plain in _TRUE:
        return True
    if plain in _FALSE:
        return False
    raise Unreadable(f"{plain[:40]!r} is neither 0 nor 1", "write 1 where the row has the label")


def _listed(cell: str) -> list[str]:
    """The labels of a cell that begins as a list."""
    try:
        found = parsed(cell)
    except ValueError:
        raise Unreadable(f"{cell[:80]!r} begins as a list and is none", _SAME) from None
    if not isinstance(found, list):
        raise Unreadable(f"{cell[:80]!r} is no list of labels", _SAME)
    names = cast("list[Any]", found)
    if len(names) > _MOST_LABELS:
        raise Unreadable(f"the cell lists {len(names):,} labels", "check the column")
    for name in names:
        if isinstance(name, bool) or not isinstance(name, str | int):
            raise Unreadable(f"{cell[:80]!r} lists {str(name)[:40]!r}, which is no label", _SAME)
        if not str(name).strip():
            raise Unreadable(f"{cell[:80]!r} lists an empty label", _SAME)
    return [str(name) for name in names]

"""A set of labels a row, however a file writes one.

    ["billing", "refund"]      a JSON list, as .jsonl and .parquet files hold one
    ['billing', 'refund']      what pandas writes into a .csv
    billing; refund            or with | or commas, one kind of mark a column; full-width ones too
    billing                    one label
    []                         none of them: a known answer, where an empty cell is a missing one

or a column of 0 and 1 for each label, named with one star: `topic_*`. The text of a set is a JSON
list, sorted; its value a sorted tuple.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any, cast

from sartor.tasks import Unreadable
from sartor.tasks._target.cells import parsed

MARKS = ("|｜", ";；", ",，", "、")
"""What stands between labels, by kind; the first kind that a column holds is the one that parts its
cells, and what comes after it may stand in labels."""
_ANY = re.compile(f"[{re.escape(''.join(MARKS))}]")
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
    kind: str = ""
    """Of `MARKS`: what parts the cells of the column; "" where each cell says so itself."""
    known: frozenset[str] = frozenset()
    """Labels of the cells that it parts."""
    such: str = ""
    """The first of those cells, for messages."""

    def read(self, cell: str, declared: Sequence[str] = ()) -> str:
        cell = unicodedata.normalize("NFC", cell.strip())
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
        return self.text(self._parts(cell, declared))

    def among(self, cells: Iterable[str], declared: Sequence[str] = ()) -> "LabelSet":
        named = frozenset(declared)
        written = dict.fromkeys(unicodedata.normalize("NFC", cell.strip()) for cell in cells)
        kinds = {cell: _kinds(cell, declared) for cell in written if cell not in named}
        # What no column could hold says nothing of this one.
        held = {
            cell: found[0]
            for cell, found in kinds.items()
            if found and not cell.startswith(("[", "{")) and not _both(found)
        }
        if len(set(held.values())) < 2:
            return LabelSet(self.least)
        kind = min(held.values(), key=MARKS.index)
        such = [cell for cell in held if held[cell] == kind]
        known = chain.from_iterable(_parted(cell, kind, declared) for cell in such)
        return LabelSet(self.least, kind, frozenset(known), such[0])

    def _parts(self, cell: str, declared: Sequence[str]) -> Sequence[str]:
        """The labels of a cell that is no list."""
        kinds = _kinds(cell, declared)
        if not kinds:
            return (cell,)
        if _both(kinds):
            raise Unreadable(f"{cell[:80]!r} parts labels with both | and ;", _SAME)
        parts = _parted(cell, kinds[0], declared)
        # One label that holds a lesser mark, where other cells show that it is one.
        if self.kind and kinds[0] != self.kind and cell in self.known:
            return (cell,)
        if self.kind in ("", kinds[0]) or set(parts) <= set(declared):
            return parts
        raise Unreadable(
            f"{cell[:80]!r} is one label or several: {self.kind[0]} parts those of other cells,"
            f" such as {self.such[:80]!r}",
            f'write it as a JSON list, e.g. ["billing", "refund"], or with {self.kind[0]} between'
            " the labels",
        )

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


def _kinds(cell: str, declared: Sequence[str]) -> list[str]:
    """The kinds of marks in a cell, outside the declared labels that hold one."""
    if _ANY.search(cell) is None:
        return []
    for name in _holding("".join(MARKS), tuple(declared)):
        cell = cell.replace(name, "")
    return [kind for kind in MARKS if any(mark in cell for mark in kind)]


def _both(kinds: Sequence[str]) -> bool:
    """Whether a cell holds two kinds of marks that do not stand in labels."""
    return tuple(kinds[:2]) == MARKS[:2]


def _parted(cell: str, kind: str, declared: Sequence[str]) -> list[str]:
    """What stands between the marks of a kind; a declared label that holds one stays whole."""
    whole = "|".join(map(re.escape, _holding(kind, tuple(declared))))
    part = rf"\s*(?:{whole})\s*(?=[{re.escape(kind)}]|$)|" if whole else ""
    found: list[str] = re.findall(f"{part}[^{re.escape(kind)}]+", cell)
    return [part.strip() for part in found if part.strip()]


@lru_cache(maxsize=16)
def _holding(marks: str, declared: tuple[str, ...]) -> list[str]:
    """The declared labels that hold one of some marks, the longest first."""
    held = (name for name in declared if any(mark in name for mark in marks))
    return sorted(held, key=len, reverse=True)


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

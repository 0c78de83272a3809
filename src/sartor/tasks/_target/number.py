"""A number a row, however a file writes one.

    3.5   -2   1e-3         as programs write them
    1,234   1,234.5         with commas between thousands
    ３．５   −2             full-width digits and the sign of typesetting

The text of a number is the shortest that reads back as it; its value a float. What stands beside a
number, a unit or another number, is not guessed at.
"""

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sartor.tasks import Unreadable

_PLAIN = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_THOUSANDS = re.compile(r"[+-]?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]*)?")
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]{1,2}|[+-]?[0-9]{4,},[0-9]+")
_BEGINS = re.compile(r"[^0-9+.-]{0,3}\s*[+-]?[0-9]")
_MOST_CHARS = 60
_CORRECT = "correct it, or leave the cell empty to drop the row"
_WHOLE = 1e15
"""Above it a float no longer holds every whole number."""


@dataclass(frozen=True, slots=True)
class Number:
    """See above."""

    least: int = 0

    def read(self, cell: str, declared: Sequence[str] = ()) -> str:
        return self.text(parse(cell))

    def value(self, text: str) -> float:
        return float(text)

    def text(self, value: float) -> str:
        return written(value)

    def columns(self, pattern: str, names: Sequence[str]) -> Mapping[str, str]:
        return {}


def parse(cell: str) -> float:
    """The number in a cell.

    Raises:
        Unreadable: If it is none, is not finite, or has a unit beside it.
    """
    plain = unicodedata.normalize("NFKC", cell).strip().replace("\u2212", "-")
    shown = repr(cell.strip()[:_MOST_CHARS])
    if len(plain) <= _MOST_CHARS:
        if _THOUSANDS.fullmatch(plain):
            plain = plain.replace(",", "")
        if _PLAIN.fullmatch(plain):
            found = float(plain)
            if math.isfinite(found):
                return found
            raise Unreadable(f"{shown} is too large to be a number", "write it in a larger unit")
        if _DECIMAL_COMMA.fullmatch(plain):
            fix = "write a point before the decimals: a comma stands between thousands"
            raise Unreadable(f"{shown} has a comma where no thousands end", fix)
        if plain.lstrip("+-").casefold() in ("nan", "inf", "infinity"):
            raise Unreadable(f"{shown} is no finite number", _CORRECT)
        if _BEGINS.match(plain):
            raise Unreadable(
                f"{shown} has something beside the number",
                "write the number alone, all rows in one unit",
            )
    raise Unreadable(f"{shown} is no number", _CORRECT)


def number_of(cell: str) -> float | None:
    """The number in a cell, None where it is none."""
    try:
        return parse(cell)
    except Unreadable:
        return None


def written(value: float) -> str:
    """The shortest text that reads back as the number."""
    if value == 0:
        return "0"  # −0 is the same number
    if value.is_integer() and abs(value) < _WHOLE:
        return str(int(value))
    return repr(float(value))

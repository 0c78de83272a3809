"""A number as people write one into a cell.

    3.5   -2   1e-3         as programs write them
    1,234   1,234.5         with commas between thousands
    ３．５   −2             full-width digits and the sign of typesetting

What stands beside a number, a unit or another number, is not guessed at.
"""

import math
import re
import unicodedata

from sartor.core.unfit import Unfit

_PLAIN = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
# Nobody writes thousands with a 0 in front: 0,125 is an eighth.
_THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2}(,[0-9]{3})+(\.[0-9]*)?")
_DECIMAL_COMMA = re.compile(r"[+-]?([0-9]+,[0-9]{1,2}|([0-9]{4,}|0[0-9]*),[0-9]+)")
_BEGINS = re.compile(r"[^0-9+.-]{0,3}\s*[+-]?[0-9]")
_MOST_CHARS = 60
_CORRECT = "correct it, or leave the cell empty to drop the row"


def parse_number(cell: str) -> float:
    """The number in a cell.

    Raises:
        Unfit: If it is none, is not finite, or has a unit beside it.
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
            raise Unfit(f"{shown} is too large to be a number", "write it in a larger unit")
        if _DECIMAL_COMMA.fullmatch(plain):
            fix = "write a point before the decimals: a comma stands between thousands"
            raise Unfit(f"{shown} has a comma where no thousands end", fix)
        if plain.lstrip("+-").casefold() in ("nan", "inf", "infinity"):
            raise Unfit(f"{shown} is no finite number", _CORRECT)
        if _BEGINS.match(plain):
            raise Unfit(
                f"{shown} has something beside the number",
                "write the number alone, all rows in one unit",
            )
    raise Unfit(f"{shown} is no number", _CORRECT)


def number_of(cell: str) -> float | None:
    """The number in a cell, None where it is none."""
    try:
        return parse_number(cell)
    except Unfit:
        return None

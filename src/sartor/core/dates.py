"""A date, or a moment, however a file or a request writes it.

    2026-03-31   2026-3-31 8:05   2026-03-31T12:00:00+08:00   20260331      ISO 8601 and its kin
    2026/3/31 12:00   2026.3.31   2026年3月31日                              year, month, day

Digits that full-width type writes count as digits. Day-first and month-first dates are no dates
here: which is which cannot be told. Digits alone are a date only where they are eight: seconds
or milliseconds since 1970 would else be read as days of the eighteenth century.
"""

import re
import unicodedata
from datetime import datetime

_BY_PARTS = re.compile(
    r"([0-9]{4})(?:([-/.])([0-9]{1,2})\2([0-9]{1,2})|年([0-9]{1,2})月([0-9]{1,2})日)"
    r"(?:[ T]*([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?)?"
)
_ALONE = 8
"""Digits of a date without marks between its parts."""


def read_date(text: str) -> datetime:
    """The moment that a text writes; without a time it is midnight, without a zone it has none.

    Raises:
        ValueError: If it writes none.
    """
    plain = unicodedata.normalize("NFKC", text).strip()
    if plain.isdecimal() and len(plain) != _ALONE:
        raise ValueError("digits alone are a date only where they are eight")
    if found := _BY_PARTS.fullmatch(plain):
        parts = [int(part) for part in found.groups() if part and part.isdecimal()]
        hour, minute, second = (*parts[3:], 0, 0, 0)[:3]
        return datetime(parts[0], parts[1], parts[2], hour, minute, second)
    return datetime.fromisoformat(plain)

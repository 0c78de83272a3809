"""A number a row, however a file writes one: see `core.numerals`.

The text of a number is the shortest that reads back as it; its value a float.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sartor.core.numerals import parse_number
from sartor.core.unfit import Unfit
from sartor.tasks import Unreadable

_WHOLE = 1e15
"""Above it a float no longer holds every whole number."""


@dataclass(frozen=True, slots=True)
class Number:
    """See above."""

    least: int = 0

    def read(self, cell: str, declared: Sequence[str] = ()) -> str:
        try:
            return self.text(parse_number(cell))
        except Unfit as error:
            raise Unreadable(error.what, error.fix) from None

    def value(self, text: str) -> float:
        return float(text)

    def text(self, value: float) -> str:
        return written(value)

    def columns(self, pattern: str, names: Sequence[str]) -> Mapping[str, str]:
        return {}


def written(value: float) -> str:
    """The shortest text that reads back as the number."""
    if value == 0:
        return "0"  # −0 is the same number
    if value.is_integer() and abs(value) < _WHOLE:
        return str(int(value))
    return repr(float(value))

"""One level a row, of a list in order: a cell is the level's name, or its number.

Of levels that are numbers 3, 3.0 and ３ are the same one, written 3; whatever is no number is a
name.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sartor.core.numerals import number_of
from sartor.tasks._target.number import written


@dataclass(frozen=True, slots=True)
class Level:
    """The value and the text are the level's name, without outer spaces, NFC."""

    least: int = 2

    def read(self, cell: str, declared: Sequence[str] = ()) -> str:
        name = unicodedata.normalize("NFC", cell.strip())
        number = number_of(name)
        return name if number is None else written(number)

    def value(self, text: str) -> str:
        return text

    def text(self, value: str) -> str:
        return str(value)

    def columns(self, pattern: str, names: Sequence[str]) -> Mapping[str, str]:
        return {}

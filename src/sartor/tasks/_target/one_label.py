"""One label a row: a cell is the label."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OneLabel:
    """The value and the text are the label itself, without outer spaces, NFC."""

    least: int = 2

    def read(self, cell: str, declared: Sequence[str] = ()) -> str:
        return unicodedata.normalize("NFC", cell.strip())

    def value(self, text: str) -> str:
        return text

    def text(self, value: str) -> str:
        return str(value)

    def columns(self, pattern: str, names: Sequence[str]) -> Mapping[str, str]:
        return {}


ONE_LABEL = OneLabel()

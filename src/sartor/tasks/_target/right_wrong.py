"""Whether an answer was right, however a file writes it.

    1   0   true   false   right   wrong   yes   no   对   错

The text and the value are `right` or `wrong`. Points of a scale are not guessed at: from which on
an answer counts as right is for the user to say.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sartor.tasks import Unreadable

RIGHT, WRONG = "right", "wrong"
_RIGHT = frozenset({"1", "1.0", "true", "t", "yes", "y", "right", "correct", "对", "正确"})
_WRONG = frozenset({"0", "0.0", "false", "f", "no", "n", "wrong", "incorrect", "错", "错误"})


@dataclass(frozen=True, slots=True)
class RightWrong:
    """See above."""

    least: int = 2

    def read(self, cell: str, declared: Sequence[str] = ()) -> str:
        plain = unicodedata.normalize("NFKC", cell).strip().casefold()
        if plain in _RIGHT:
            return RIGHT
        if plain in _WRONG:
            return WRONG
        raise Unreadable(
            f"{cell.strip()[:40]!r} says neither that an answer was right nor that it was wrong",
            "write 1 for right and 0 for wrong, or drop the row",
        )

    def value(self, text: str) -> str:
        return text

    def text(self, value: str) -> str:
        return str(value)

    def columns(self, pattern: str, names: Sequence[str]) -> Mapping[str, str]:
        return {}

"""A reply in the model's own words: a cell is the reply.

No list holds such answers, so nothing is a label that could be unknown, rare or missing; and one
text may have several right ones.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from sartor.core.replies import Reply
from sartor.tasks import Unreadable

_MOST_CHARS = 100_000


@dataclass(frozen=True, slots=True)
class FreeText:
    """The text is the reply without outer spaces, NFC; the value a `Reply`."""

    written: ClassVar[Literal[True]] = True
    least: int = 0
    turns: bool = True
    """Whether what is answered may be a conversation; else it is a text like any other."""

    def read(self, cell: str, declared: Sequence[str] = ()) -> str:
        if len(cell) > _MOST_CHARS:
            raise Unreadable(
                f"the reply is {len(cell):,} characters long, more than {_MOST_CHARS:,}",
                "check that the column holds replies",
            )
        text = unicodedata.normalize("NFC", cell.replace("\r\n", "\n").strip())
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise Unreadable(
                f"the reply holds half of a surrogate pair at character {error.start}",
                "write the file as UTF-8",
            ) from None
        return text

    def value(self, text: str) -> Reply:
        return Reply(text)

    def text(self, value: Reply) -> str:
        return str(value)

    def columns(self, pattern: str, names: Sequence[str]) -> Mapping[str, str]:
        return {}

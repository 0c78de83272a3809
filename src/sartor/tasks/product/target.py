"""What should become of a row in a product, however a file says it.

    refund                   that outcome is right: a label, or the id of a document
    refunds-3; refunds-4     either is; with | or commas too, or as a JSON list
    hand_off                 a person should answer; [] says the same

The text of an answer is the outcome itself, "hand_off", or a JSON list of several, sorted; its
value a tuple, empty for a person.
"""

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from sartor.core.types import HAND_OFF
from sartor.tasks import Unreadable
from sartor.tasks._target.cells import unlisted
from sartor.tasks._target.label_set import LabelSet

_SETS = LabelSet()


@dataclass(frozen=True, slots=True)
class Outcomes:
    """See above.

    Args:
        names: The outcomes there are; empty where any are taken.
    """

    composed: ClassVar[Literal[True]] = True
    names: frozenset[str] = frozenset()
    least: int = 0

    def of(self, listed: Iterable[str]) -> "Outcomes":
        return Outcomes(frozenset(listed))

    def read(self, cell: str, declared: Sequence[str] = ()) -> str:
        known = self.names or frozenset(declared)
        cell = unicodedata.normalize("NFC", cell.strip())
        found = (cell,) if cell in known else tuple(json.loads(_SETS.read(cell)))
        if HAND_OFF in found and len(found) > 1:
            raise Unreadable(
                f"{cell[:80]!r} names {HAND_OFF} beside other outcomes",
                "say either what is right, or that a person should answer",
            )
        unknown = [name for name in found if known and name not in known and name != HAND_OFF]
        if not unknown:
            return self.text(found)
        instead = f"write {HAND_OFF} where a person should answer"
        raise unlisted("no part of the product answers", unknown[0], known, instead)

    def value(self, text: str) -> tuple[str, ...]:
        if text == HAND_OFF:
            return ()
        return tuple(json.loads(text)) if text.startswith("[") else (text,)

    def text(self, value: Sequence[str]) -> str:
        names = (value,) if isinstance(value, str) else value
        listed = _SETS.text([name for name in names if name != HAND_OFF])
        found = json.loads(listed)
        if not found:
            return HAND_OFF
        return found[0] if len(found) == 1 and not found[0].startswith("[") else listed

    def columns(self, pattern: str, names: Sequence[str]) -> Mapping[str, str]:
        return {}

    def joined(self, texts: Sequence[str]) -> str:
        return self.text([name for text in texts for name in self.value(text)])

    def covers(self, said: str, right: str) -> bool:
        found, wanted = set(self.value(said)), set(self.value(right))
        return found <= wanted if found else not wanted

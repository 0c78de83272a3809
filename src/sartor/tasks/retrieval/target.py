"""The documents that answer a row, however a file names them.

    refunds-3                          one id
    refunds-3; refunds-4               several, any of which is right; with | or commas too
    ["refunds-3", "refunds-4"]         the same, as .jsonl and .parquet files hold a list
    []                                 none of them: a known answer, where an empty cell is missing
    Send it back within two weeks.     the document itself, where a file has no ids

The text of an answer is a JSON list of ids, sorted; its value a sorted tuple.
"""

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sartor.core.hashing import digest
from sartor.tasks._target.cells import unlisted
from sartor.tasks._target.label_set import LabelSet

_SETS = LabelSet()


@dataclass(frozen=True, slots=True)
class Documents:
    """See above.

    Args:
        ids: The documents there are; empty where any are taken.
    """

    ids: frozenset[str] = frozenset()
    least: int = 0

    def of(self, listed: Iterable[str]) -> "Documents":
        return Documents(frozenset(listed))

    def read(self, cell: str, declared: Sequence[str] = ()) -> str:
        known = self.ids or frozenset(declared)
        cell = unicodedata.normalize("NFC", cell.strip())
        if (whole := _known(cell, known)) in known:
            return self.text((whole,))
        names = [_known(name, known) for name in self.value(_SETS.read(cell))]
        unknown = [name for name in names if known and name not in known]
        if not unknown:
            return self.text(names)
        instead = "add the document to the base"
        raise unlisted("no document has the id", unknown[0], known, instead)

    def value(self, text: str) -> tuple[str, ...]:
        return tuple(json.loads(text))

    def text(self, value: Sequence[str]) -> str:
        return _SETS.text(value)

    def columns(self, pattern: str, names: Sequence[str]) -> Mapping[str, str]:
        return {}

    def joined(self, texts: Sequence[str]) -> str:
        return self.text([name for text in texts for name in self.value(text)])

    def covers(self, said: str, right: str) -> bool:
        found, wanted = set(self.value(said)), set(self.value(right))
        return found <= wanted if found else not wanted


def _known(name: str, known: frozenset[str]) -> str:
    """The id of a document that a list names by its id or holds itself."""
    return hashed if name not in known and (hashed := name_of(name)) in known else name


def name_of(text: str) -> str:
    """The id of a document that has none: a hash of its words, whatever spaces stand between."""
    words = unicodedata.normalize("NFC", text).split()
    return digest("document", " ".join(words))[:12]

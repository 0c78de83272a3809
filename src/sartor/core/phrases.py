"""A sentence with its parts kept apart, so that a later stage can say it in another language.

Who finds something out (the judge, the search) knows neither the reader nor the reader's language;
who draws it has a catalogue. A phrase carries the English message and what stands in its gaps.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from sartor.core.i18n import Translate

_GAP = re.compile(r"\{(\w+)\}")
_DEEPEST = 5


def _english(message: str) -> str:
    return message


def money(value: float) -> str:
    """An amount without its currency: two decimals from 1 on, three digits below, no exponent."""
    size = abs(value)
    if not math.isfinite(value) or size >= 1 or size < 1e-12:
        return f"{value:,.2f}" if size >= 1 else "0"
    return f"{value:.{2 - math.floor(math.log10(size))}f}"


@dataclass(frozen=True, slots=True)
class Phrase:
    """
    Args:
        message: English, with gaps such as {rows}; the key of the catalogues.
        values: Gap to what stands there: a text that is the same in every language, a phrase, or
            several phrases, which are listed.
    """

    message: str
    values: Mapping[str, "str | Phrase | tuple[Phrase, ...]"] = field(
        default_factory=dict[str, "str | Phrase | tuple[Phrase, ...]"]
    )

    def __str__(self) -> str:
        return self.say()

    def say(self, translate: Translate = _english) -> str:
        """In the language of `translate`; a gap without a value stays as it is."""

        def filled(gap: re.Match[str]) -> str:
            value = self.values.get(gap[1], gap[0])
            if isinstance(value, Phrase):
                return value.say(translate)
            if isinstance(value, tuple):
                return translate(", ").join(part.say(translate) for part in value)
            return value

        return _GAP.sub(filled, translate(self.message))

    def as_json(self) -> dict[str, Any]:
        def plain(value: "str | Phrase | tuple[Phrase, ...]") -> Any:
            if isinstance(value, tuple):
                return [part.as_json() for part in value]
            return value.as_json() if isinstance(value, Phrase) else value

        return {"message": self.message, "values": {k: plain(v) for k, v in self.values.items()}}

    @staticmethod
    def of_json(found: object, depth: int = _DEEPEST) -> "Phrase":
        """The inverse of `as_json`.

        Raises:
            ValueError: If it is not of that form, or nested deeper than any phrase is.
        """
        if not isinstance(found, Mapping) or not depth:
            raise ValueError(f"{found!r:.60} is no phrase")
        parts = cast("Mapping[str, Any]", found)
        message, values = parts.get("message"), parts.get("values", {})
        if not isinstance(message, str) or not isinstance(values, Mapping):
            raise ValueError(f"{found!r:.60} is no phrase")

        def read(value: object) -> "str | Phrase | tuple[Phrase, ...]":
            if isinstance(value, str):
                return value
            if isinstance(value, list | tuple):
                return tuple(Phrase.of_json(part, depth - 1) for part in value)  # type: ignore[reportUnknownVariableType]
            return Phrase.of_json(value, depth - 1)

        return Phrase(message, {str(k): read(v) for k, v in values.items()})  # type: ignore[reportUnknownVariableType]

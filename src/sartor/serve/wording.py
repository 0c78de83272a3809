"""What the server says of itself, refusals and reasons, in the language of whoever asks.

It is English where it is said, in logs and in the store; only what goes out is put into another
language, by the catalogue of the page. Names, values and codes are the same in all.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sartor.core.i18n import languages, negotiate, sentences

PACKAGE = "sartor.serve"
"""Holds the catalogues."""


def language_of(accepted: str) -> str:
    """The language to answer in, or English.

    Args:
        accepted: The header Accept-Language; empty where there is none.
    """
    return negotiate(accepted, languages(PACKAGE)) if accepted else "en"


def worded(text: str, language: str) -> str:
    """A sentence of the server's own; as it is where the catalogue has none such."""
    return text if language == "en" else sentences(PACKAGE, language)(text)


def worded_answers(answers: Sequence[dict[str, Any]], language: str) -> Sequence[dict[str, Any]]:
    """Answers with their reasons and notes in a language, those of a product's parts too."""
    return answers if language == "en" else [_worded(answer, language) for answer in answers]


def _worded(answer: Mapping[str, Any], language: str) -> dict[str, Any]:
    found = dict(answer)
    if "reason" in found:
        found["reason"] = worded(found["reason"], language)
    if "notes" in found:
        found["notes"] = [worded(note, language) for note in found["notes"]]
    if "path" in found:
        found["path"] = [
            {**step, "answer": _worded(step["answer"], language)} for step in found["path"]
        ]
    return found

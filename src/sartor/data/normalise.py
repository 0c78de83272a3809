"""One text in its usual form, with the reasons where that changed it; and its stable id."""

import re
import unicodedata
from collections.abc import Mapping

from sartor.core.hashing import digest
from sartor.data.table import encodable

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\u200b\u2060\ufeff]")
_BROKEN = re.compile("\ufffd+")
_SPACES = re.compile(r"[^\S\n]+")
_LINES = re.compile(r" ?\n ?")
_BLANKS = re.compile(r"\n{3,}")
_TIDY = re.compile(r"[ -~]*")

# What exports write where a text is missing. As a label some of these are real ("none").
MISSING_TEXT = frozenset({"nan", "null", "none", "n/a", "#n/a", "na", "<na>", "nat"})
MISSING_LABEL = frozenset({"nan", "#n/a", "<na>"})


def normalise_text(text: str) -> tuple[str, tuple[str, ...]]:
    """NFC, no control characters, single spaces; line ends are kept.

    Returns:
        The text, and a reason for each thing that changed it (empty if nothing did).
    """
    if _TIDY.fullmatch(text) and "  " not in text and text.strip() == text:
        return text, ()
    reasons: list[str] = []
    # A Windows line end is no news to anybody.
    text = text.replace("\r\n", "\n")
    steps = (
        ("undecodable characters removed", lambda t: _BROKEN.sub("", encodable(t))),
        ("control characters removed", lambda t: _CONTROL.sub("", t)),
        ("Unicode composed (NFC)", lambda t: unicodedata.normalize("NFC", t)),
        ("spaces collapsed", _collapse),
    )
    for reason, step in steps:
        after = step(text)
        if after != text:
            reasons.append(reason)
        text = after
    return text, tuple(reasons)


def _collapse(text: str) -> str:
    text = _SPACES.sub(" ", text.replace("\r", "\n"))
    return _BLANKS.sub("\n\n", _LINES.sub("\n", text)).strip()


def content_id(inputs: Mapping[str, str]) -> str:
    """32 hex digits that equal inputs share in every run.

    Args:
        inputs: Role to value, e.g. {"text": "…"}; values are normalised first.
    """
    return digest({role: normalise_text(value)[0] for role, value in inputs.items()})[:32]

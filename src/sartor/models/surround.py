"""What a tokenizer puts around every text: control tokens, or words that its model is told."""

from typing import TYPE_CHECKING

from sartor.core.errors import SettingError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SAMPLES = ("a text", "another, 2")
"""Texts that tell it."""


def around(
    name: str, whole: "Tokenizer", bare: "Tokenizer"
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(before, behind) token ids.

    Args:
        name: Of the model.
        whole: Its tokenizer.
        bare: The same, or one that reads the same texts and knows no control tokens.

    Raises:
        SettingError: If they are not the same around every text.
    """
    found: set[tuple[tuple[int, ...], tuple[int, ...]]] = set()
    for text in SAMPLES:
        ids = whole.encode(text).ids
        inner = bare.encode(text, add_special_tokens=False).ids
        for start in range(len(ids) - len(inner) + 1):
            if ids[start : start + len(inner)] == inner:
                found.add((tuple(ids[:start]), tuple(ids[start + len(inner) :])))
                break
    if len(found) != 1:
        raise SettingError(
            f"the tokenizer of {name} does not put the same around every text.",
            fix="choose another model.",
        )
    return found.pop()

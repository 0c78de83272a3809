"""What a model reads of a row: one text, or several side by side, such as a pair.

Most tasks read one text, and it is a plain `str` wherever it goes. A task with several text inputs
has a tuple in its place, in the order of the task's roles.
"""

import json
from collections.abc import Callable, Sequence

Text = str | tuple[str, ...]
"""One text, or one a role of the task, in the roles' order."""


def parts_of(text: Text) -> tuple[str, ...]:
    """The texts of a row, one a role."""
    return (text,) if isinstance(text, str) else text


def each_part(text: Text, change: Callable[[str], str]) -> Text:
    """The same row with every text changed."""
    return change(text) if isinstance(text, str) else tuple(map(change, text))


def flat(texts: Sequence[Text]) -> list[str]:
    """Every text of every row, one row after the other."""
    return [part for text in texts for part in parts_of(text)]


def length_of(text: Text) -> int:
    """Characters, of all its texts together."""
    return sum(map(len, parts_of(text)))


def shown(text: Text) -> str:
    """As a person reads it: several texts stand with a bar between them."""
    return " | ".join(parts_of(text))


def written(text: Text) -> str:
    """As one string that `read_back` gives back: one text is itself, several are a JSON list."""
    return text if isinstance(text, str) else json.dumps(text, ensure_ascii=False)


def read_back(found: str, parts: int) -> Text | None:
    """The inverse of `written`; None where it is not so many texts.

    Args:
        found: What was written.
        parts: Text inputs of the task.
    """
    if parts == 1:
        return found
    try:
        texts = json.loads(found)
    except (ValueError, RecursionError):
        return None
    if not isinstance(texts, list) or len(texts) != parts:  # pyright: ignore[reportUnknownArgumentType]
        return None
    if not all(isinstance(text, str) for text in texts):  # pyright: ignore[reportUnknownVariableType]
        return None
    return tuple(texts)  # pyright: ignore[reportUnknownArgumentType,reportUnknownVariableType]

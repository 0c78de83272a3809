"""What a model reads of a row: one text, or several side by side, such as a pair.

Most tasks read one text, and it is a plain `str` wherever it goes. A task with several text inputs
has a tuple in its place, in the order of the task's roles. A task with columns has its `Cells`
beside the text, or alone.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Text = str | tuple[str, ...]
"""One text, or one a role of the task, in the roles' order; columns come last."""
COLUMNS = "columns"
"""The role under which a row holds its `Cells`."""
CONTEXT = "context"
"""The role of the text that a question is answered from."""


class Cells(str):
    """The columns of a row as a JSON object, column to number, string or null.

    It travels as a text does, and no tokenizer reads it: `flat` and `each_part` pass it by.
    """

    __slots__ = ()

    @staticmethod
    def of(values: Mapping[str, Any]) -> "Cells":
        """The one way to write these values, in their order."""
        return Cells(json.dumps(dict(values), ensure_ascii=False))

    def values(self) -> dict[str, Any]:
        """Column to value."""
        return json.loads(self)


def parts_of(text: Text) -> tuple[str, ...]:
    """The texts of a row, one a role."""
    return (text,) if isinstance(text, str) else text


def each_part(text: Text, change: Callable[[str], str]) -> Text:
    """The same row with every text changed, and columns as they are."""
    if isinstance(text, tuple):
        return tuple(part if isinstance(part, Cells) else change(part) for part in text)
    return text if isinstance(text, Cells) else change(text)


def flat(texts: Sequence[Text]) -> list[str]:
    """Every text of every row, one row after the other; columns are none."""
    return [part for text in texts for part in parts_of(text) if not isinstance(part, Cells)]


def cells_of(texts: Sequence[Text]) -> list[Cells]:
    """The columns of every row that has any."""
    last = (parts_of(text)[-1] for text in texts)
    return [part for part in last if isinstance(part, Cells)]


def named(text: Text, keys: Sequence[str]) -> dict[str, Any]:
    """The row as a request holds it.

    Args:
        text: What the model reads.
        keys: Names of its texts, then of its columns, which are not looked at: they know theirs.
    """
    parts = parts_of(text)
    if not isinstance(parts[-1], Cells):
        return dict(zip(keys, parts, strict=True))
    words = parts[:-1]
    return {**dict(zip(keys[: len(words)], words, strict=True)), **parts[-1].values()}


def length_of(text: Text) -> int:
    """Characters, of all its texts together."""
    return sum(map(len, parts_of(text)))


def shown(text: Text) -> str:
    """As a person reads it: several texts stand with a bar between them."""
    return " | ".join(parts_of(text))


def written(text: Text) -> str:
    """As one string that `read_back` gives back: one text is itself, several are a JSON list."""
    # A plain string even of columns: not every database takes a type of ours.
    return str(text) if isinstance(text, str) else json.dumps(text, ensure_ascii=False)


def read_back(found: str, parts: int, *, cells: bool = False) -> Text | None:
    """The inverse of `written`; None where it is not so many texts.

    Args:
        found: What was written.
        parts: Inputs of the task, its columns being one.
        cells: Whether the last of them is the columns.
    """
    if cells:
        text = read_back(found, parts)
        if text is None:
            return None
        *words, last = parts_of(text)
        return (*words, Cells(last)) if words else Cells(last)
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

"""One row of a request, which nobody vouches for, to what the model reads of it."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from sartor.bundle import Manifest
from sartor.core.columns import cell, kinds_in
from sartor.core.errors import RequestError
from sartor.core.histories import (
    AIM,
    ANSWERS,
    COUNT,
    ITEMS,
    MASTERED_AT,
    MOST_ID,
    MOST_LISTED,
    MOST_SENT,
    OPTIONS,
    NoList,
    left_out,
    options_for,
)
from sartor.core.near import near_miss
from sartor.core.texts import Cells, Text
from sartor.core.types import ITEM, SKILL
from sartor.core.unfit import Unfit
from sartor.llm.conversation import NoConversation, conversation_of


def read_row(row: Any, index: int, inputs: Mapping[str, str]) -> Text:
    """What the model reads of a row.

    Args:
        row: As `text_of` or `row_of` takes it.
        index: Of the row, for messages.
        inputs: Of the manifest: key to what it holds.

    Raises:
        RequestError: Names the row and the key that cannot be used.
    """
    return row_of(row, index, inputs) if kinds_in(inputs) else text_of(row, index, tuple(inputs))


def text_of(row: str | Sequence[str] | Mapping[str, Any], index: int, keys: Sequence[str]) -> Text:
    """The text of a row, or its texts in the order of the keys.

    Args:
        row: A text, a sequence of as many as there are keys, or a mapping from key to text.
        index: Of the row, for messages.
        keys: The model's inputs.

    Raises:
        RequestError: Names the row and the key that cannot be used.
    """
    found = [
        _whole(text, index, key) for key, text in zip(keys, _parts(row, index, keys), strict=True)
    ]
    return found[0] if len(found) == 1 else tuple(found)


def row_of(row: Any, index: int, inputs: Mapping[str, str]) -> Text:
    """What a model with columns reads of a row of a request.

    Args:
        row: A mapping from key to value; null is a missing value.
        index: Of the row, for messages.
        inputs: Of the manifest: key to "text", "number", "category", "date", "items",
            "answers", "item" or "skill".

    Raises:
        RequestError: Names the row and the key that cannot be used.
    """
    kinds = kinds_in(inputs)
    words = [key for key in inputs if key not in kinds]
    if not isinstance(row, Mapping):
        form = ", ".join(f'"{key}": …' for key in list(inputs)[:3])
        what = type(cast("object", row)).__name__
        raise wrong(f"Row {index} is {what}, not a mapping.", f"write {{{form}, …}}.")
    given = {**left_out(inputs), **cast("Mapping[str, Any]", row)}
    options = options_for(inputs)
    for key in given:
        if key not in inputs and key not in options:
            raise wrong(
                f"Row {index} has the key {key!r}, which this model does not take.",
                near_miss(str(key), [*inputs, *options]),
            )
    for key in inputs:
        if key not in given:
            raise wrong(
                f"Row {index} lacks the key {key!r}.", "send it, or null where it is missing."
            )
    cells = {key: _cell(given[key], kind, (index, key)) for key, kind in kinds.items()}
    told = {key: _option(given[key], (index, key)) for key in options if key in given}
    read = Cells.of(cells | told)
    if not words:
        return read
    text = text_of({key: "" if given[key] is None else given[key] for key in words}, index, words)
    return (text, read) if isinstance(text, str) else (*text, read)


def _cell(value: Any, kind: Any, place: tuple[int, str]) -> Any:
    index, key = place
    # A file holds nothing but texts; a request has types, and a number in quotes is a mistake.
    if isinstance(value, str) and kind == "number" and value.strip():
        raise wrong(
            f"Row {index}, key {key!r} is the text {value!r:.60}, not a number.",
            "send a JSON number without quotes, or null.",
        )
    try:
        found = cell(value, kind)
    except Unfit as error:
        raise wrong(f"Row {index}, key {key!r} {error.what}.", f"{error.fix}, or null.") from None
    if isinstance(found, str):
        try:
            found.encode()
        except UnicodeEncodeError:
            what = f"Row {index}, key {key!r} holds half of a surrogate pair."
            raise wrong(what, "decode it as UTF-8 before sending it.") from None
    return found


def _option(value: Any, place: tuple[int, str]) -> Any:
    index, key = place
    try:
        return OPTIONS[key](value)
    except NoList as error:
        raise wrong(f"Row {index}, key {key!r} {error.what}.", f"{error.fix}.") from None


def check_conversation(text: Text, index: int) -> None:
    """Refuse what cannot be replied to before it is computed beside the rows of others.

    Raises:
        RequestError: Names the row and its message.
    """
    try:
        conversation_of(str(text))
    except NoConversation as error:
        raise wrong(f"Row {index}: {error.what}.", f"{error.fix}.") from None


def _parts(row: object, index: int, keys: Sequence[str]) -> list[str]:
    if isinstance(row, str) and len(keys) == 1:
        return [row]
    if isinstance(row, tuple | list) and len(keys) > 1:
        return _of_sequence(cast("Sequence[object]", row), index, keys)
    # Callers in notebooks are not type-checked.
    if not isinstance(row, Mapping):
        what = "a text or a mapping" if len(keys) == 1 else f"{len(keys)} texts or a mapping"
        kind = type(cast("object", row)).__name__
        raise wrong(f"Row {index} is {kind}, not {what}.", f"write {_form(keys)}.")
    given = cast("Mapping[object, object]", row)
    for name in given:
        if name not in keys:
            raise wrong(
                f"Row {index} has the key {name!r}, which this model does not take.",
                near_miss(str(name), keys),
            )
    for key in keys:
        if key not in given:
            raise wrong(f"Row {index} lacks the key {key!r}.", f"write {_form(keys)}.")
    return [_string(given[key], index, key) for key in keys]


def _form(keys: Sequence[str]) -> str:
    return "{" + ", ".join(f'"{key}": "…"' for key in keys) + "}"


def _of_sequence(row: Sequence[object], index: int, keys: Sequence[str]) -> list[str]:
    if len(row) != len(keys):
        raise wrong(
            f"Row {index} holds {len(row)} texts, and this model reads {len(keys)}.",
            f"send {', '.join(keys)}, in this order.",
        )
    return [_string(text, index, key) for key, text in zip(keys, row, strict=True)]


def _string(value: object, index: int, key: str) -> str:
    if not isinstance(value, str):
        raise wrong(
            f"Row {index}, key {key!r} is {type(value).__name__}, not a text.", "send a string."
        )
    return value


def _whole(text: str, index: int, key: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise wrong(
            f"Row {index}, key {key!r} holds half of a surrogate pair at character {error.start}.",
            "decode the text as UTF-16 or UTF-8 before sending it.",
        ) from None
    return text


def wrong(what: str, fix: str) -> RequestError:
    """For a row that cannot be used."""
    return RequestError(what, fix=fix, status=422)


def example_row(manifest: Manifest, words: str) -> dict[str, Any]:
    """A row as a request holds it; its columns are such as the training rows were.

    Args:
        manifest: Of the bundle that is asked.
        words: Stands for every text.
    """
    kinds, code = kinds_in(manifest.inputs), manifest.preprocess.columns
    texts: dict[str, Any] = {key: words for key in manifest.inputs if key not in kinds}
    if code is None:
        return texts
    return texts | code.example()


def field_schema(kind: str, most: int) -> dict[str, Any]:
    """JSON Schema of a value under a request's key.

    Args:
        kind: What the key holds, as the manifest says it.
        most: Characters of a text.
    """
    if kind == "number":
        return {"type": ["number", "null"]}
    if kind == ITEMS:
        return _SEVERAL
    if kind == ANSWERS:
        return {"type": "array", "items": _ANSWER, "maxItems": MOST_SENT}
    if kind == ITEM:
        return {"anyOf": [_ONE_OR_NONE, _SEVERAL]}
    if kind == SKILL:
        return {"type": ["string", "null"], "maxLength": MOST_ID}
    if kind == "category":
        return {"type": ["string", "number", "boolean", "null"], "maxLength": most}
    if kind == "date":
        return {"type": ["string", "null"], "format": "date", "maxLength": most}
    return {"type": "string", "maxLength": most}


def option_schemas(inputs: Mapping[str, str]) -> dict[str, Any]:
    """JSON Schemas of what a row may hold and need not, by key.

    Args:
        inputs: Of the manifest.
    """
    share = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
    forms: dict[str, dict[str, Any]] = {
        COUNT: {"type": "integer", "minimum": 1, "maximum": MOST_LISTED},
        AIM: share,
        MASTERED_AT: share,
    }
    return {key: forms.get(key) or field_schema(ITEMS, 0) for key in options_for(inputs)}


_NAME: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": MOST_ID, "pattern": r"\S"}
_SEVERAL: dict[str, Any] = {"type": "array", "items": _NAME, "maxItems": MOST_SENT}
# What begins as a list is read as one: tensors hold nothing but texts.
_ONE_OR_NONE: dict[str, Any] = {
    "type": ["string", "null"],
    "maxLength": MOST_ID,
    "pattern": r"^(?!\s*\[)",
}
_ANSWER: dict[str, Any] = {
    "type": "object",
    "properties": {"item": _NAME, "correct": {"type": "boolean"}},
    "required": ["item", "correct"],
    "additionalProperties": False,
}

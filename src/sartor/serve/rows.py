"""One row of a request, which nobody vouches for, to what the model reads of it."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from sartor.core.errors import RequestError
from sartor.core.near import near_miss
from sartor.core.texts import Text
from sartor.llm.conversation import NoConversation, conversation_of


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


def check_conversation(text: Text, index: int) -> None:
    """Refuse what cannot be replied to before it is computed beside the rows of others.

    Raises:
        RequestError: Names the row and its message.
    """
    try:
        conversation_of(str(text))
    except NoConversation as error:
        raise _wrong(f"Row {index}: {error.what}.", f"{error.fix}.") from None


def _parts(row: object, index: int, keys: Sequence[str]) -> list[str]:
    form = "{" + ", ".join(f'"{key}": "…"' for key in keys) + "}"
    if isinstance(row, str) and len(keys) == 1:
        return [row]
    if isinstance(row, tuple | list) and len(keys) > 1:
        return _of_sequence(cast("Sequence[object]", row), index, keys)
    # Callers in notebooks are not type-checked.
    if not isinstance(row, Mapping):
        what = "a text or a mapping" if len(keys) == 1 else f"{len(keys)} texts or a mapping"
        kind = type(cast("object", row)).__name__
        raise _wrong(f"Row {index} is {kind}, not {what}.", f"write {form}.")
    given = cast("Mapping[object, object]", row)
    for name in given:
        if name not in keys:
            raise _wrong(
                f"Row {index} has the key {name!r}, which this model does not take.",
                near_miss(str(name), keys),
            )
    for key in keys:
        if key not in given:
            raise _wrong(f"Row {index} lacks the key {key!r}.", f"write {form}.")
    return [_string(given[key], index, key) for key in keys]


def _of_sequence(row: Sequence[object], index: int, keys: Sequence[str]) -> list[str]:
    if len(row) != len(keys):
        raise _wrong(
            f"Row {index} holds {len(row)} texts, and this model reads {len(keys)}.",
            f"send {', '.join(keys)}, in this order.",
        )
    return [_string(text, index, key) for key, text in zip(keys, row, strict=True)]


def _string(value: object, index: int, key: str) -> str:
    if not isinstance(value, str):
        raise _wrong(
            f"Row {index}, key {key!r} is {type(value).__name__}, not a text.", "send a string."
        )
    return value


def _whole(text: str, index: int, key: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _wrong(
            f"Row {index}, key {key!r} holds half of a surrogate pair at character {error.start}.",
            "decode the text as UTF-16 or UTF-8 before sending it.",
        ) from None
    return text


def _wrong(what: str, fix: str) -> RequestError:
    return RequestError(what, fix=fix, status=422)

"""What methods read of a row, apart from texts."""

from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from sartor.tune.api import ReadsColumns, ReadsItems


@runtime_checkable
class Traces(Protocol):
    """A method of histories of answers, which tells how likely the next one is right; what it reads
    beside them, it says as `ReadsItems` does."""

    traces: ClassVar[Literal[True]]


def input_of(method: Any) -> Literal["texts", "columns", "items", "answers"]:
    """What a method reads of a row: texts, its columns, or a history of items or of answers."""
    if isinstance(method, Traces):
        return "answers"
    if isinstance(method, ReadsItems):
        return "items"
    return "columns" if isinstance(method, ReadsColumns) else "texts"

"""Which method suits which task: what both read, and the form of what is learnt."""

from typing import Any, ClassVar, Literal, Protocol, cast, runtime_checkable

from sartor.core.errors import SettingError
from sartor.core.types import Candidate, one_label
from sartor.core.types import by_piece as of_pieces
from sartor.tasks import TASKS
from sartor.tune.api import (
    METHODS,
    Checks,
    Locates,
    OneLabelOnly,
    Ranks,
    Reads,
    ReadsColumns,
    ReadsItems,
    ReadsNames,
)
from sartor.tune.inputs import input_of
from sartor.tune.minding import MindsPieces
from sartor.tune.settings import read_settings


@runtime_checkable
class FewRows(Protocol):
    """A method that is climbed by itself only where rows are few; of many there is better."""

    few_rows: ClassVar[Literal[True]]


def reads_pairs(task: str) -> bool:
    """Whether a row of the task is several texts."""
    return sum(kind == "text" for kind in TASKS.get(task)().roles.inputs.values()) > 1


def by_piece(task: str) -> bool:
    """Whether the task answers about the pieces of a text (see `core.pieces`)."""
    return of_pieces(TASKS.get(task)().roles.target_kind)


def locates(task: str) -> bool:
    """Whether the task's answers are parts of a context."""
    return TASKS.get(task)().roles.target_kind == "answer"


def reads_of(method: str) -> Reads:
    """What training with a method reads."""
    found: Any = METHODS.get(method)
    return found.reads


def unfit(method: str, task: str, *, text: bool = True) -> str:
    """Why a method cannot learn a task whatever the backbone is; "" where it can.

    Args:
        method: Its name.
        task: Its name.
        text: Whether rows hold a text.
    """
    if why := _of_other_inputs(method, task, text) or other_answers(method, task):
        return why
    kind = TASKS.get(task)().roles.target_kind
    found = METHODS.get(method)
    if isinstance(found, OneLabelOnly) and not one_label(kind):
        return f"{method} is for tasks of one label a row, and {task} is none"
    if isinstance(found, ReadsNames) and kind == "number":
        return f"{method} reads what the labels are called, and a number has no name"
    # Activations are of texts; whoever reads states or tokens reads those of each piece as well.
    pooled = reads_of(method) == "activations"
    if by_piece(task) and pooled and not isinstance(found, MindsPieces | Locates):
        return f"{method} reads a text as a whole, and {task} answers about each piece of one"
    return ""


def at_odds(candidate: Candidate, task: str) -> str:
    """Why a candidate's settings do not go together; "" where they do.

    Args:
        candidate: Of any settings.
        task: Its name.
    """
    if not isinstance(METHODS.get(candidate.method), Checks):
        return ""
    read = read_settings(candidate.settings, task=task, method=candidate.method)
    try:
        cast("Checks", read.method).check()
    except SettingError as error:
        return error.what
    return ""


def _of_other_inputs(method: str, task: str, text: bool) -> str:
    """Why a method of texts cannot read columns, or one of columns texts; "" where it can."""
    found, holds = METHODS.get(method), TASKS.get(task)().roles.holds
    if (reads := input_of(found)) != holds:
        return f"{method} reads {_INPUTS[reads]}, and rows of {task} hold {_INPUTS[holds]}"
    if isinstance(found, ReadsColumns) and found.columns == "beside" and not text:
        return f"{method} reads a text beside the columns, and the need names none"
    if isinstance(found, ReadsItems) and found.items == "beside" and not text:
        return f"{method} reads the items' texts, and the need names none under data.documents"
    return ""


_INPUTS = {
    "texts": "texts",
    "columns": "columns",
    "items": "histories of items",
    "answers": "histories of answers",
}


def other_answers(method: str, task: str) -> str:
    """Why a method of one form of answers cannot learn another's; "" where it can."""
    found: Any = METHODS.get(method)
    roles = TASKS.get(task)().roles
    documents = roles.target_kind == "documents" and roles.holds == "texts"
    learns = found.reads in ("tokens", "states")
    if documents and not isinstance(found, Ranks) and not learns:
        return f"{method} learns labels by their rows, and {task} finds documents by their words"
    if locates(task) and not isinstance(found, Locates) and not learns:
        return f"{method} reads each text by itself, and {task} reads a question with its context"
    for kind, there, what in ((Ranks, documents, "documents"), (Locates, locates(task), "answers")):
        if isinstance(found, kind) and not there:
            return f"{method} finds {what}, and {task} has none"
    return ""

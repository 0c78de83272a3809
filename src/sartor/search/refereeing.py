"""The language model that a need names as judge of replies, and how often it may be asked."""

from collections.abc import Callable
from pathlib import Path

from sartor.core.addresses import origin
from sartor.core.errors import Fault, NeedError
from sartor.core.events import Note
from sartor.judge.api import CannotMeasure
from sartor.judge.checks.preference import METRICS, RUBRIC
from sartor.llm.access import check_access
from sartor.llm.asker import Asks
from sartor.llm.chat import Chat
from sartor.llm.opinion import LlmOpinion
from sartor.need.model import Need


def asks_judge(need: Need) -> bool:
    """Whether a criterion is measured by a judge."""
    return any(criterion.metric in METRICS for criterion in need.accept)


def refuse_unjudged(need: Need, file: str) -> None:
    """Refuse criteria that ask a judge whom the need does not name, or for a rubric it lacks.

    Raises:
        NeedError: With the line of each.
        SettingError: If the judge's key is not there.
    """
    faults: list[Fault] = []
    for criterion in need.accept:
        if criterion.metric not in METRICS:
            continue
        if need.judge is None:
            fix = "add `judge: {url: http://localhost:11434/v1, model: qwen3}` to the need."
            faults.append(Fault(criterion.line, f"{criterion.text!r} needs a judge to ask", fix))
        elif criterion.metric == RUBRIC and not need.judge.rubric:
            fix = "say what a good reply is like under judge.rubric."
            faults.append(Fault(criterion.line, f"{criterion.text!r} needs a rubric", fix))
    if faults:
        raise NeedError(file, faults)
    if need.judge is not None and asks_judge(need):
        Chat(need.judge.url, need.judge.model, need.judge.key)


def opinion_of(need: Need, asks: Asks) -> LlmOpinion | None:
    """The judge; None where the need names none, or no criterion asks it.

    Args:
        need: Of the replies.
        asks: Where answers are kept, and who is told of progress.
    """
    judge = need.judge
    if judge is None or not asks_judge(need):
        return None
    chat = Chat(judge.url, judge.model, judge.key)
    return LlmOpinion(chat, judge.key, judge.rubric, asks, _within(need.budget.requests, asks))


def _within(most: int | None, asks: Asks) -> Callable[[int, Chat], None]:
    """Counts questions, and refuses those beyond `most`."""
    put = 0

    def spend(new: int, chat: Chat) -> None:
        nonlocal put
        place = origin(chat.url)
        if most is not None and put + new > most:
            raise CannotMeasure(
                f"The judge would be asked {put + new:,} questions, and budget.requests allows"
                f" {most:,}.",
                fix="raise budget.requests.",
            )
        if new and not put:
            asks.emit(Note(f"Texts with their replies are sent to {chat.model} at {place}."))
        put += new

    return spend


def allowed(need: Need, folder: Path, grants: tuple[str, ...]) -> None:
    """Refuse to ask the judge that a bundle's own need names, unless the user allows its server.

    Raises:
        BundleError: Naming what allows it.
    """
    if need.judge is not None and asks_judge(need):
        check_access(need.judge, folder, grants, "is judged by sending texts and replies to")

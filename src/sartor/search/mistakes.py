"""Wrong answers as a report lists them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sartor.core.texts import shown
from sartor.core.types import Examples
from sartor.tasks import Task, agrees

_WORST = 30
"""Listed at most."""


def wrong_answers(
    task: Task, test: Examples, answers: Sequence[Mapping[str, Any]], named: str | None
) -> list[dict[str, Any]]:
    """Wrong answers, the surest first, or numbers, the farthest first; rows by the user's own id
    column where the need has one."""
    ids = test.extra.get(named, test.ids) if named else test.ids
    said = [task.brief(answer) for answer in answers]
    far = task.roles.target_kind == "number"
    truth = [task.target.text(target) for target in test.target]
    wrong = [
        {
            "id": str(row),
            "text": shown(text)[:500],
            "label": _readable(task, label, shown(text)),
            "answer": _readable(task, brief.best, shown(text)),
            "confidence": None if far else brief.confidence,
        }
        for row, text, label, brief in zip(ids, test.texts, truth, said, strict=True)
        if not agrees(task.target, brief.best, label)
    ]
    if far:
        return sorted(wrong, key=lambda e: -_distance(e))[:_WORST]
    return sorted(wrong, key=lambda e: -float(e["confidence"]))[:_WORST]


def _readable(task: Task, answer: str, text: str) -> str:
    """The text of an answer as a person reads it: places in a row's text as what stands there."""
    kind = task.roles.target_kind
    if kind not in ("spans", "answer"):
        return answer
    spans = task.target.value(answer)
    if kind == "answer":
        return " / ".join(passage.text for passage in spans) or "–"
    return ", ".join(f"{text[span.start : span.end]} ({span.label})" for span in spans) or "–"


def _distance(error: Mapping[str, Any]) -> float:
    """Of a number from the truth; where there is no answer it is as far as can be."""
    return abs(float(error["answer"]) - float(error["label"])) if error["answer"] else math.inf

"""What differs by the form of a served model's answers: labels, or a number with its interval."""

from collections.abc import Mapping
from typing import Any

from sartor.core.types import VALUE
from sartor.serve.runtime import Runtime

ENDS = ("value", "low", "high")
"""Keys of an answer that is a number."""


def agrees(runtime: Runtime, label: str | None, answer: Mapping[str, Any]) -> bool:
    """Whether an answer is that of another model; of a number, whether the other's lies inside its
    interval.

    Args:
        runtime: That answered.
        label: The other's answer, as a text.
        answer: Its own.
    """
    if runtime.target != VALUE or label is None or answer[VALUE] is None:
        return runtime.brief(answer).label == label
    try:
        other = float(label)
    except ValueError:  # the other's answers are of another form
        return False
    return answer["low"] <= other <= answer["high"]


def corrected_under(target: str) -> str:
    """The key of a correction, by that of an answer: of a reply it is `label`, its text."""
    return "label" if target == "text" else target


def offered(target: str) -> list[str]:
    """Names of the Open Inference Protocol's outputs of a model, by the key of its answers."""
    return [
        "label",
        {
            VALUE: "values",
            "entities": "confidence",
            "answer": "confidence",
            "text": "confidence",
            "outcome": "confidence",
        }.get(target, "probabilities"),
    ]

"""Typed progress. Stages take `emit`; only the CLI and the studio draw."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StageStarted:
    """A stage begins.

    Args:
        stage: One word: read, encode, climb, shrink, judge, …
        total: Units of work ahead; 0 when unknown.
        unit: What is counted, e.g. "texts".
    """

    stage: str
    total: int = 0
    unit: str = ""


@dataclass(frozen=True, slots=True)
class StageProgress:
    """`done` of `total` units of `stage` are finished."""

    stage: str
    done: int
    total: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class StageDone:
    """A stage ended; `summary` is the one line a user reads."""

    stage: str
    summary: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something the user should know while they wait. `level` is "info" or "warning"."""

    text: str
    level: str = "info"


@dataclass(frozen=True, slots=True)
class CandidateTried:
    """The search has measured a candidate on validation rows.

    Args:
        label: Rung and settings in words.
        scores: Metric name to validation value.
        chance: Chance, 0 to 1, that every criterion is met on the test rows.
        seconds: Wall time it took.
        why: What the reader must know of it, such as that the budget cut its fit.
    """

    label: str
    scores: dict[str, float]
    chance: float
    seconds: float
    why: str = ""


Event = StageStarted | StageProgress | StageDone | Note | CandidateTried
Emit = Callable[[Event], None]


def silent(event: Event) -> None:
    """The `emit` of a caller who does not watch."""

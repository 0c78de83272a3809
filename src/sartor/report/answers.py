"""Answers on the test rows as a run's `result.json` tells of them: by label, or as numbers."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import BeforeValidator


def _word(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


Word = Annotated[str, BeforeValidator(_word)]
"""A label, a name or a fact; JSON may hold it as a number."""


@dataclass(frozen=True, slots=True)
class Confusion:
    """`counts[true][answered]`, in the order of `labels`."""

    labels: tuple[Word, ...] = ()
    counts: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """One label of rows that may have several: rows that have it, were given it, and both."""

    label: Word = ""
    true: int = 0
    said: int = 0
    hits: int = 0

    @property
    def precision(self) -> float | None:
        return self.hits / self.said if self.said else None

    @property
    def recall(self) -> float | None:
        return self.hits / self.true if self.true else None

    @property
    def f1(self) -> float | None:
        return 2 * self.hits / (self.true + self.said) if self.true + self.said else None


@dataclass(frozen=True, slots=True)
class Numbered:
    """A row whose answer is a number: the truth, what was said, and the ends of its interval."""

    truth: float
    said: float
    low: float
    high: float

    @property
    def inside(self) -> bool:
        """Whether the truth lies in the interval."""
        return self.low <= self.truth <= self.high

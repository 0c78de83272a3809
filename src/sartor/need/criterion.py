"""A criterion: metric[parameters] comparison threshold.

    criterion  = metric [ "[" parameter { "," parameter } "]" ] comparison target
    parameter  = name "=" value | name comparison number | "where" ":" condition
    condition  = clause { ("and" | "or") clause } ;  "and" binds tighter, brackets group
    clause     = "not" clause | "(" condition ")" | column comparison value
                 | column ["not"] "in" "(" value { "," value } ")"
    target     = number ["%"] | "baseline" [ ("+" | "-") number ["%"] ]
    comparison = ">=" | "<=" | ">" | "<" | "==" | "!="       (≥ ≤ ≠ and full-width forms too)

A value is a number, a bare word (any script) or a quoted string. Nothing is evaluated: the text
becomes the dataclasses below, and `judge` binds their names once the data is read.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Comparison = Literal[">=", "<=", ">", "<", "==", "!="]
Scalar = str | float


@dataclass(frozen=True, slots=True)
class Compare:
    """`column comparison value`, or membership when `value` is a tuple (`==` in, `!=` not in)."""

    column: str
    comparison: Comparison
    value: Scalar | tuple[Scalar, ...]

    def holds(self, row: Mapping[str, Any]) -> bool:
        """Whether the row satisfies the clause; an absent value satisfies only `!=`."""
        found = row.get(self.column)
        if isinstance(self.value, tuple):
            inside = any(_compare("==", found, value) for value in self.value)
            return inside is (self.comparison == "==")
        return _compare(self.comparison, found, self.value)

    def columns(self) -> set[str]:
        return {self.column}


@dataclass(frozen=True, slots=True)
class Combine:
    """`and`, `or` over two or more conditions; `not` over one."""

    how: Literal["and", "or", "not"]
    parts: tuple["Condition", ...]

    def holds(self, row: Mapping[str, Any]) -> bool:
        if self.how == "not":
            return not self.parts[0].holds(row)
        return (all if self.how == "and" else any)(part.holds(row) for part in self.parts)

    def columns(self) -> set[str]:
        return {name for part in self.parts for name in part.columns()}


Condition = Compare | Combine


@dataclass(frozen=True, slots=True)
class Bound:
    """A parameter that is itself a requirement: `automation_rate[precision >= 0.97]`."""

    comparison: Comparison
    value: float


@dataclass(frozen=True, slots=True)
class Criterion:
    """One line of `accept:`.

    Args:
        text: As the user wrote it; also its name in verdicts.
        metric: Unbound name, e.g. "recall".
        comparison: How the value must stand to the threshold.
        threshold: In the metric's unit; percent signs are already divided out. With
            `relative_to`, the margin over the baseline (may be negative).
        relative_to: "baseline", or "" for an absolute threshold.
        parameters: In brackets: a scalar (`label=refund`) or a `Bound`.
        where: Rows the metric is measured on, or None for all.
        confidence: Of the interval, e.g. 0.95.
        line: 1-based line in the need file; 0 when it came from code.
    """

    text: str
    metric: str
    comparison: Comparison
    threshold: float
    relative_to: Literal["", "baseline"] = ""
    parameters: tuple[tuple[str, Scalar | Bound], ...] = ()
    where: Condition | None = None
    confidence: float = 0.95
    line: int = 0

    def parameter(self, name: str) -> Scalar | Bound | None:
        return dict(self.parameters).get(name)

    def label(self, outputs: Sequence[str]) -> str | None:
        """The label in `[label=…]` as `outputs` spell it (a bare 1 is the label "1"), or None."""
        found = self.parameter("label")
        if found is None or isinstance(found, Bound):
            return None
        if isinstance(found, str):
            return found
        spellings = (f"{found:g}", str(found))
        return next((s for s in spellings if s in outputs), spellings[0])

    @property
    def wants_more(self) -> bool:
        """Whether larger values satisfy it."""
        return self.comparison in (">=", ">")


def _compare(comparison: Comparison, found: Any, value: Scalar) -> bool:
    if found is None:
        return comparison == "!="
    left, right = _alike(found, value)
    if comparison == "==":
        return left == right
    if comparison == "!=":
        return left != right
    if type(left) is not type(right):
        return False
    if comparison == ">=":
        return left >= right
    if comparison == "<=":
        return left <= right
    return left > right if comparison == ">" else left < right


def _alike(found: Any, value: Scalar) -> tuple[Any, Any]:
    """Both as text where the criterion says text, both as numbers where it says a number.

    A number beside something that reads as none ("n/a") is no comparison: it equals nothing and
    no order holds.
    """
    if isinstance(value, str):
        if isinstance(found, bool):
            return str(found).lower(), value.lower()
        if isinstance(found, str):
            return found, value
        number = _number(value)
        return (str(found), value) if number is None else (_number(found), number)
    return _number(found), value


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    # Python reads "nan", "infinity" and "1_000" as numbers; in a column they are words.
    odd = isinstance(value, str) and ("_" in value or not math.isfinite(number))
    return None if odd else number

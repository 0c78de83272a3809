"""A criterion's outcome: value, interval, number of examples, and what they prove."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

State = Literal["met", "unmet", "unproven"]


def overall(verdicts: "Iterable[Verdict]") -> State:
    """The need's state: unmet if any criterion is, else unproven if any is, else met."""
    states = {verdict.state for verdict in verdicts}
    return "unmet" if "unmet" in states else "unproven" if "unproven" in states else "met"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one criterion ended.

    Args:
        criterion: As the user wrote it.
        value: Measured, in the metric's unit; for a comparison with the baseline, the difference.
        low: Lower end of the confidence interval, same unit.
        high: Upper end.
        n: Examples (for latency: processes) behind the value; 0 where exact.
        state: What the interval proves.
        more: Range of further labelled examples that would decide an unproven criterion, or None.
        more_of: Which rows those must be, e.g. "label=refund"; empty for any.
        note: What limits the value, e.g. "this machine, batch 1, 2 threads".
    """

    criterion: str
    value: float
    low: float
    high: float
    n: int
    state: State
    more: tuple[int, int] | None = None
    more_of: str = ""
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def of_json(found: Mapping[str, Any]) -> "Verdict":
        """The inverse of `as_json`."""
        more = found.get("more")
        fields: Any = {**found, "more": (int(more[0]), int(more[1])) if more else None}
        return Verdict(**fields)

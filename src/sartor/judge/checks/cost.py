"""Cost of answering on a target: the processor time and the memory of the bundle, times prices.

Each of six fresh serving processes gives one figure; the value is that of the median, the interval
their range (see `intervals.spread`). It holds for the machine that measured and the prices as they
stand in the price book; the formulas are in `judge.costing`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sartor.core.errors import Fault
from sartor.core.near import near_miss
from sartor.core.types import TargetKind, Use
from sartor.judge.api import CHECKS, CannotMeasure, Measurement, Subject
from sartor.judge.costing import lines, seconds_on
from sartor.judge.intervals import spread
from sartor.judge.limits import limit_fault, needs_bundle
from sartor.need.costs import Machine, PerUse, PriceBook
from sartor.need.criterion import Criterion

PER_1000, MONTHLY = "cost_per_1000", "monthly_cost"
METRICS: Mapping[str, str] = {
    PER_1000: "what answering 1,000 requests costs on a target, in its currency",
    MONTHLY: "what a month of so many requests costs on a target, in its currency",
}
_MOST = 1e12


@CHECKS.add
@dataclass(frozen=True, slots=True)
class Cost:
    """Prices what the runtime was seen to use."""

    metrics: Mapping[str, str] = field(default_factory=lambda: METRICS)
    target: TargetKind | None = None

    def fault(self, criterion: Criterion, outputs: Sequence[str]) -> Fault | None:
        takes = ("target", "requests") if criterion.metric == MONTHLY else ("target",)
        return limit_fault(criterion, takes) or _requests_fault(criterion) or _no_name(criterion)

    def priced(self, criterion: Criterion, book: PriceBook) -> Fault | None:
        """Why the price book cannot tell what is meant, or None."""
        name = book.named(_target(criterion))
        if name is None:
            known = ", ".join(book.targets)
            return Fault(
                criterion.line,
                f"{criterion.text!r} names no target, and neither does the need.",
                f"write [target=…] or `costs: {{target: …}}` with one of {known}.",
            )
        if name not in book.targets:
            what = f"{criterion.text!r}: there are no prices for the target {name!r}."
            return Fault(criterion.line, what, near_miss(name, book.targets))
        return None

    def measure(self, criterion: Criterion, subject: Subject) -> Measurement:
        if subject.using is None:
            raise needs_bundle(criterion, "to run")
        name, target = target_of(criterion, subject.prices)
        use = subject.using()
        times = seconds_on(target, use)
        figures = np.array([figure(criterion, name, target, use, cpu) for cpu in times])
        low, high = spread(figures)
        middle = figure(criterion, name, target, use, float(np.median(times)))
        note = f"{name}, {target.currency}: {_dated(target)}; {conditions(use)}"
        return Measurement(middle, low, high, len(figures), note)


def figure(
    criterion: Criterion, name: str, target: PerUse | Machine, use: Use, cpu: float
) -> float:
    """The criterion's metric on a target, were a request to take `cpu` processor seconds.

    Raises:
        CannotMeasure: If the target has not enough memory.
    """
    found = lines(name, target, use, cpu)
    if criterion.metric == PER_1000:
        return found.per_1000()
    wanted = criterion.parameter("requests")
    assert isinstance(wanted, float), "`fault` refuses any other"
    return found.cost(wanted)


def target_of(criterion: Criterion, book: PriceBook | None) -> tuple[str, PerUse | Machine]:
    """The target that a criterion means, and its prices.

    Raises:
        CannotMeasure: If there is none of that name.
    """
    name = None if book is None else book.named(_target(criterion))
    if book is None or name is None or name not in book.targets:
        raise CannotMeasure(
            f"there are no prices for {name or 'a target'}.",
            fix="name a target: [target=lambda], or target under costs in the need.",
        )
    return name, book.targets[name]


def conditions(use: Use) -> str:
    """What the processor time holds for."""
    return f"this machine, batch 1, {use.threads} threads"


def _target(criterion: Criterion) -> str | None:
    found = criterion.parameter("target")
    return found if isinstance(found, str) else None


def _requests_fault(criterion: Criterion) -> Fault | None:
    if criterion.metric != MONTHLY:
        return None
    found = criterion.parameter("requests")
    if isinstance(found, float) and 1 <= found <= _MOST and found == int(found):
        return None
    what = "requests is missing" if found is None else "requests is no whole number above 0"
    return Fault(
        criterion.line,
        f"{criterion.text!r}: {what}.",
        f"write how many a month, e.g. {MONTHLY}[requests=1000000] <= 30.",
    )


def _no_name(criterion: Criterion) -> Fault | None:
    found = criterion.parameter("target")
    if found is None or isinstance(found, str):
        return None
    return Fault(
        criterion.line,
        f"{criterion.text!r}: target is no name.",
        f"write the name of a target, e.g. {criterion.metric}[target=lambda] <= 1.",
    )


def _dated(target: PerUse | Machine) -> str:
    if (when := target.dated) is None:
        return "prices of the need"
    return f"prices of {when.year}-{when.month:02}-{when.day:02}"

"""What a check is: it measures one property of a predictor on a dataset.

Two kinds. `MeasuresArtefact` looks at the bundle (size, latency): its interval does not come from
the rows, so looks at a test set, Holm and "more rows" do not concern it. `CountsRows` turns rows
into sums (`Statistic`), from which `judge` takes intervals, paired differences and forecasts alike.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sartor.core.errors import Fault, SettingError
from sartor.core.registry import Registry
from sartor.core.types import Examples, TargetKind, Use
from sartor.judge.statistic import Statistic, difference
from sartor.need.costs import PriceBook
from sartor.need.criterion import Comparison, Criterion


class CannotMeasure(SettingError):
    """The subject lacks what a metric needs: probabilities, a bundle, a baseline."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a check of the artefact found.

    Args:
        value: In the metric's unit.
        low: Lower end of the interval.
        high: Upper end.
        n: Repetitions (processes) behind it; 0 where exact.
        note: What limits it.
    """

    value: float
    low: float
    high: float
    n: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """One requirement on the rows. A criterion is met when all of its parts are.

    Args:
        name: Metric in words, for notes, e.g. "precision among answered".
        statistic: What is estimated.
        comparison: How it must stand to the threshold.
        threshold: In the statistic's unit.
        of: Which rows make up its `n` where they can be looked for, e.g. "label=refund".
    """

    name: str
    statistic: Statistic
    comparison: Comparison
    threshold: float
    of: str = ""

    @staticmethod
    def asked(
        criterion: Criterion,
        statistic: Statistic,
        today: Callable[[], Statistic] | None = None,
        *,
        name: str = "",
        of: str = "",
    ) -> "Part":
        """What a criterion asks for.

        Args:
            criterion: With comparison and threshold.
            statistic: Of the answers.
            today: The same of the baseline, for criteria that compare with it.
            name: The metric's own where it is "".
            of: As of a part.
        """
        if today is not None and criterion.relative_to == "baseline":
            statistic = difference(statistic, today())
        name = name or criterion.metric
        return Part(name, statistic, criterion.comparison, criterion.threshold, of)


class Opinion(Protocol):
    """What a judge thinks of replies; asked only where a criterion asks."""

    def better(
        self, texts: Sequence[str], replies: Sequence[str], others: Sequence[str]
    ) -> NDArray[np.float64]:
        """(rows,) 1 where a reply is the better one, 0 where the other is, ½ for neither."""
        ...

    def fulfils(self, texts: Sequence[str], replies: Sequence[str]) -> NDArray[np.bool_]:
        """(rows,) whether a reply fulfils the rubric."""
        ...


@dataclass(frozen=True, slots=True)
class Subject:
    """What is judged: answers on examples, and where the artefact lies.

    Args:
        examples: With targets.
        answers: One a row, in the task's response form.
        outputs: The classes, in order (for classification).
        folder: The bundle, where there is one: size is read from it.
        baseline: Answers of what runs today, one a row, or None.
        groups: Group of each row (customer, document), where rows of one group are alike: the
            bootstrap then draws groups. None where rows are independent.
        timing: Latencies in milliseconds, (processes, requests), from fresh processes, sent
            one after another; measured lazily: called once, at most, when a criterion needs it.
        conditions: What the timing holds for, e.g. "this machine, batch 1, 128 tokens, 2 threads".
        using: Processor time and memory of fresh serving processes; as lazy as `timing`.
        prices: What they cost.
        target: The form of the answers.
        streaming: Of replies, (processes, requests, 2): milliseconds to the first words, and tokens
            a second behind them; as lazy as `timing`.
        opinion: Of a judge on replies, or None.
    """

    examples: Examples
    answers: Sequence[Mapping[str, object]]
    outputs: Sequence[str]
    folder: str | None = None
    baseline: Sequence[str] | None = None
    groups: Sequence[str] | None = None
    timing: Callable[[], NDArray[np.float64]] | None = None
    conditions: str = "this machine"
    using: Callable[[], Use] | None = None
    prices: PriceBook | None = None
    target: TargetKind = "label"
    streaming: Callable[[], NDArray[np.float64]] | None = None
    opinion: Opinion | None = None

    def truth(self, what: str) -> tuple[Any, ...]:
        """The right answers, as many as there are answers.

        Args:
            what: One of them is called.

        Raises:
            CannotMeasure: If there are more or fewer.
        """
        target = self.examples.target
        if len(target) != len(self.answers):
            raise CannotMeasure(
                f"{len(self.answers)} answers meet {len(target)} rows.",
                fix=f"give one answer and one {what} a row.",
            )
        return target

    def today(self, what: str = "answers") -> Sequence[str]:
        """The baseline's answers.

        Args:
            what: They are called.

        Raises:
            CannotMeasure: If the rows have none.
        """
        if self.baseline is None:
            raise CannotMeasure(
                "The rows have no baseline to compare with.",
                fix=f"name the column with today's {what} under data.baseline.",
            )
        return self.baseline


class Check(Protocol):
    """One file in `judge/checks/` offers one family of metrics."""

    metrics: Mapping[str, str]
    """Metric name to one sentence of meaning; every criterion's metric comes from one."""
    target: TargetKind | None
    """The form of the answers that it counts; None where it looks at none."""

    def fault(self, criterion: Criterion, outputs: Sequence[str]) -> Fault | None:
        """Why it can never be measured (unknown label, impossible threshold), or None."""
        ...


@runtime_checkable
class MeasuresArtefact(Check, Protocol):
    """A property of the bundle on this machine."""

    def measure(self, criterion: Criterion, subject: Subject) -> Measurement:
        """Value and interval.

        Raises:
            CannotMeasure: If the subject has no bundle or no timing.
        """
        ...


@runtime_checkable
class TakesPrices(MeasuresArtefact, Protocol):
    """A property that follows from prices, which are no property of the bundle."""

    def priced(self, criterion: Criterion, book: PriceBook) -> Fault | None:
        """Why the price book cannot tell what is meant, or None."""
        ...


@runtime_checkable
class CountsRows(Check, Protocol):
    """A property of the answers on a sample of rows."""

    def parts(self, criterion: Criterion, subject: Subject) -> tuple[Part, ...]:
        """What must hold, the reported part first, on rows already sliced to the criterion.

        Raises:
            CannotMeasure: If the answers lack what the metric needs.
        """
        ...


CHECKS: Registry[Check] = Registry("check", package="sartor.judge.checks", group="sartor.checks")

"""What to do about verdicts that are not met, cheapest first.

What is unproven is decided by fresh rows alone: a random sample that took no part in this verdict,
large enough by itself. The range of *further* rows in a verdict (`Verdict.more`) holds for rows
that are judged together with those that were.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any

from sartor.core.phrases import Phrase
from sartor.judge.api import CountsRows
from sartor.judge.planning import fresh_rows, planned_test_rows, rows_needed
from sartor.judge.resolve import check_of, words
from sartor.need.criterion import Bound, Criterion
from sartor.need.verdict import Verdict

_SECONDS_A_LABEL = 16
"""A short text read and labelled by one person; long documents take more."""
_ENOUGH = 0.9
"""Chance that the fresh rows decide, were the truth what was observed."""
_MOST = 1_000_000
_LEAST = 50


@dataclass(frozen=True, slots=True)
class NextStep:
    """One thing to do.

    Args:
        said: What, in a sentence.
        command: What to type for it.
        price: Its cost in words, e.g. "about 40 minutes of labelling".
        seconds: The same as a number, for ranking.
    """

    said: Phrase
    command: str
    price: Phrase
    seconds: float

    @property
    def what(self) -> str:
        """In English, for machines."""
        return self.said.say()

    def as_json(self) -> dict[str, Any]:
        return {
            "what": self.what,
            "command": self.command,
            "cost": self.price.say(),
            "seconds": self.seconds,
            "said": self.said.as_json(),
            "price": self.price.as_json(),
        }


@dataclass(frozen=True, slots=True)
class MoreLabels:
    """How many further training rows bring a criterion to where it can be proven.

    Args:
        low: At the lower end of an 80 % interval; None where no number is likely to.
        high: At the upper end; None where it cannot be foreseen.
        target: The value that the test rows could then be expected to prove.
        chance: That any number of rows does it, 0 to 1.
        first: The class whose rows are worth most, or "".
    """

    low: int | None
    high: int | None
    target: float
    chance: float
    first: str = ""


@dataclass(frozen=True, slots=True)
class Beyond:
    """What only those know who searched.

    Args:
        rung: The next step up the ladder, if there is one: for quality.
        lighter: What would make it smaller or faster.
        labels: Criterion's text to what more training rows would do for it.
    """

    rung: NextStep | None = None
    lighter: Sequence[NextStep] = ()
    labels: Mapping[str, MoreLabels] = field(default_factory=dict[str, MoreLabels])


def next_steps(
    criteria: Sequence[Criterion],
    verdicts: Sequence[Verdict],
    *,
    need: str,
    bundle: str,
    beyond: Beyond | None = None,
) -> list[NextStep]:
    """Steps towards a met need, cheapest first; none if all is met.

    Args:
        criteria: Of the need.
        verdicts: One a criterion, in their order.
        need: The need file, as the user wrote it.
        bundle: The bundle that was judged.
        beyond: What the judge cannot know.
    """
    beyond = beyond or Beyond()
    judged = list(zip(criteria, verdicts, strict=True))
    open_ones = [(criterion, verdict) for criterion, verdict in judged if verdict.state != "met"]
    counted = [(c, v) for c, v in open_ones if _counts_rows(c)]
    whole = max((v.n for c, v in judged if _counts_rows(c)), default=0)
    wanted = [(c, v, _fresh_rows(c, v, whole)) for c, v in counted]
    steps = list(_fresh([(c, v, n) for c, v, n in wanted if n], whole, bundle))
    weak = [(c, v) for c, v, n in wanted if not n]
    steps += [_train(c, v, need, beyond.labels.get(c.text)) for c, v in weak if v.n]
    # Where a criterion asks two things, the one that is not reported may be what is missed.
    climbs = any(v.n for c, v in counted if (c, v) in weak or _two_fold(c))
    if beyond.rung is not None and climbs:
        steps.append(beyond.rung)
    too_big = [c for c, v in open_ones if not _counts_rows(c) and v.n + (v.value > 0)]
    if too_big:
        steps += beyond.lighter
    unique = {step.what: step for step in steps}
    return sorted(unique.values(), key=lambda step: step.seconds)


def _fresh_rows(criterion: Criterion, verdict: Verdict, whole: int) -> int:
    """Fresh rows that would decide by themselves; 0 where rows are not what is lacking.

    Rows of `_kind`: whole rows where those that count cannot be picked out beforehand.

    Args:
        criterion: That counts rows.
        verdict: Its verdict.
        whole: Rows of the test set, as far as the verdicts tell.
    """
    if not verdict.n:
        plain = replace(criterion, where=None)
        return max(_LEAST, planned_test_rows([plain], {label_of(criterion): 1.0}))
    if verdict.state != "unproven" or not _right_side(criterion, verdict):
        return 0
    judged = verdict.n if _kind(criterion) else max(whole, verdict.n)
    needed = judged if criterion.relative_to or _two_fold(criterion) else 0
    if not criterion.relative_to and 0 < criterion.threshold < 1:
        alone = rows_needed(criterion, verdict.value, chance=_ENOUGH) or _MOST
        needed = ceil(alone * judged / verdict.n)
    if verdict.more is not None:
        # From the interval as it was found: groups, averages and pairs are in it.
        needed = max(needed, fresh_rows(judged + verdict.more[1], criterion.confidence))
    elif not _worn(verdict):
        return 0  # So near its threshold that no number was forecast.
    return 0 if needed >= _MOST else max(needed, _LEAST)


def _fresh(
    wanted: Sequence[tuple[Criterion, Verdict, int]], whole: int, bundle: str
) -> Iterator[NextStep]:
    """One sample for all that rows can decide: it is judged by every criterion at once."""
    if not wanted:
        return
    # How many rows must be read to meet so many of a kind, as often as they were met so far.
    rows = max(
        ceil(count * (max(whole, v.n) / v.n if _kind(c) and v.n else 1)) for c, v, count in wanted
    )
    message = (
        "Label a fresh random sample that holds at least {parts}. It decides by itself, whatever "
        "the present test set showed. To release the bundle, name the file under data.test and run "
        "the need again."
    )
    if any(_worn(v) for _, v, _ in wanted):
        message = (
            "Label a fresh random sample that holds at least {parts}. It decides by itself, "
            "whatever the present test set showed (it is worn). To release the bundle, name the "
            "file under data.test and run the need again."
        )
    yield NextStep(
        Phrase(message, {"parts": tuple(_wanted(c, v, count) for c, v, count in wanted)}),
        command=f"sartor judge {bundle} fresh.csv",
        price=_labelling(rows),
        seconds=rows * _SECONDS_A_LABEL,
    )


def _wanted(criterion: Criterion, verdict: Verdict, count: int) -> Phrase:
    values = {"n": f"{count:,}", "criterion": verdict.criterion, "where": _kind(criterion)}
    if values["where"]:
        return Phrase("{n} rows with {where} ({criterion})", values)
    return Phrase("{n} rows ({criterion})", values)


def _train(
    criterion: Criterion, verdict: Verdict, need: str, forecast: MoreLabels | None
) -> NextStep:
    values: dict[str, str | Phrase] = {
        "rows": training_rows(label_of(criterion)),
        "criterion": verdict.criterion,
        "value": f"{verdict.value:.3g}",
    }
    if forecast is not None:
        return _foreseen(forecast, values, need)
    # Half as much again as was judged is a guess; a learning curve knows better.
    count = max(_LEAST, verdict.n // 2)
    values["n"] = f"{count:,}"
    said = Phrase(
        "Add {rows}, about {n} to begin with: {criterion} stands at {value}. How many it takes "
        "is not known here.",
        values,
    )
    if verdict.state == "unproven" and _right_side(criterion, verdict):
        said = Phrase(
            "Add about {n} {rows}: {criterion} stands at {value}, too near the threshold for any "
            "practical number of test rows.",
            values,
        )
    return NextStep(said, f"sartor run {need}", _labelling(count), count * _SECONDS_A_LABEL)


def _foreseen(forecast: MoreLabels, values: dict[str, str | Phrase], need: str) -> NextStep:
    values |= {"target": f"{forecast.target:.3g}", "chance": f"{forecast.chance:.0%}"}
    if forecast.low is None:
        said = Phrase(
            "Do not label more for it: {criterion} stands at {value}, and more {rows} are unlikely "
            "to bring it to {target} (chance {chance}). Look at the worst errors in the report for "
            "wrong or ambiguous labels.",
            values,
        )
        return NextStep(said, "sartor report", Phrase("about 15 minutes of reading"), 900)
    low = max(forecast.low, _LEAST)
    high = None if forecast.high is None else max(forecast.high, low)
    values["n"] = amount(low, high)
    said = Phrase(
        "Add {n} {rows} (at a confidence of 80 %): {criterion} stands at {value}, and would reach "
        "the {target} that the test rows can be expected to prove.",
        values,
    )
    if forecast.first:
        values["label"] = forecast.first
        said = Phrase(
            "Add {n} {rows} (at a confidence of 80 %), those of {label} first: {criterion} stands "
            "at {value}, and would reach the {target} that the test rows can be expected to prove.",
            values,
        )
    seconds = (4 * low if high is None else high) * _SECONDS_A_LABEL
    return NextStep(said, f"sartor run {need}", labelling(low, high), seconds)


def training_rows(label: str) -> Phrase:
    """Of one class where `label` is given."""
    if not label:
        return Phrase("training rows")
    return Phrase("training rows with label={label}", {"label": label})


def amount(low: int, high: int | None) -> Phrase:
    """A number of rows as a range; `high` None where it has no end."""
    values = {"low": f"{low:,}", "high": "" if high is None else f"{high:,}"}
    if high is None:
        return Phrase("{low} or more", values)
    if low == high:
        return Phrase("{low}", values)
    return Phrase("{low} to {high}", values)


def labelling(low: int, high: int | None) -> Phrase:
    """What labelling so many rows takes; `high` None where it has no end."""
    least = _labelling(low)
    if high is None:
        return Phrase("at least {price}", {"price": least})
    most = _labelling(high)
    if least == most:
        return least
    return Phrase("{least} to {most}", {"least": least, "most": most})


def _kind(criterion: Criterion) -> str:
    """Which rows count, where they can be told before they are answered; else nothing."""
    found = [words(criterion.where)] if criterion.where is not None else []
    if criterion.metric == "recall" and (label := label_of(criterion)):
        found.insert(0, f"label={label}")
    return " and ".join(found)


def _labelling(rows: int) -> Phrase:
    minutes = rows * _SECONDS_A_LABEL / 60
    if minutes < 90:
        told = f"{max(5, 5 * round(minutes / 5))}"
        return Phrase("about {n} minutes of labelling", {"n": told})
    return Phrase("about {n} hours of labelling", {"n": f"{minutes / 60:.0f}"})


def _counts_rows(criterion: Criterion) -> bool:
    return isinstance(check_of(criterion.metric), CountsRows)


def _right_side(criterion: Criterion, verdict: Verdict) -> bool:
    if criterion.wants_more:
        return verdict.value >= criterion.threshold
    return verdict.value <= criterion.threshold


def _two_fold(criterion: Criterion) -> bool:
    """Whether it asks for something besides its own value: `automation_rate[precision >= …]`."""
    return any(isinstance(value, Bound) for _, value in criterion.parameters)


def _worn(verdict: Verdict) -> bool:
    return "worn" in verdict.note


def label_of(criterion: Criterion) -> str:
    """The class that a criterion is about; "" where it is about all of them."""
    found = criterion.parameter("label")
    if found is None or isinstance(found, Bound):
        return ""
    return found if isinstance(found, str) else f"{found:g}"

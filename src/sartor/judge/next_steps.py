"""What to do about verdicts that are not met, cheapest first."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sartor.judge.api import CountsRows
from sartor.judge.resolve import check_of
from sartor.need.criterion import Bound, Criterion
from sartor.need.verdict import Verdict

_SECONDS_A_LABEL = 16
"""A short text read and labelled by one person; long documents take more."""


@dataclass(frozen=True, slots=True)
class NextStep:
    """One thing to do.

    Args:
        what: In a sentence.
        command: What to type for it.
        cost: In words, e.g. "about 40 minutes of labelling".
        seconds: The same as a number, for ranking.
    """

    what: str
    command: str
    cost: str
    seconds: float


def next_steps(
    criteria: Sequence[Criterion],
    verdicts: Sequence[Verdict],
    *,
    need: str,
    bundle: str,
    rung: NextStep | None = None,
    smaller: NextStep | None = None,
) -> list[NextStep]:
    """Steps towards a met need, cheapest first; none if all is met.

    Args:
        criteria: Of the need.
        verdicts: One a criterion, in their order.
        need: The need file, as the user wrote it.
        bundle: The bundle that was judged.
        rung: The next step up the ladder, if there is one: for quality.
        smaller: The next step down, if there is one: for size and speed.
    """
    open_ones = [
        (criterion, verdict)
        for criterion, verdict in zip(criteria, verdicts, strict=True)
        if verdict.state != "met"
    ]
    steps = [
        step
        for criterion, verdict in open_ones
        if _counts_rows(criterion)
        for step in _for_rows(criterion, verdict, need, bundle)
    ]
    below = [c for c, v in open_ones if _counts_rows(c) and not _right_side(c, v) and v.n]
    if rung is not None and below:
        steps.append(rung)
    too_big = [c for c, v in open_ones if not _counts_rows(c) and v.n + (v.value > 0)]
    if smaller is not None and too_big:
        steps.append(smaller)
    unique = {step.what: step for step in steps}
    return sorted(unique.values(), key=lambda step: step.seconds)


def binding(criteria: Sequence[Criterion], verdicts: Sequence[Verdict]) -> Verdict | None:
    """The criterion furthest from being met, in half-widths of its interval, or None."""
    furthest = max(
        (
            (_shortfall(criterion, verdict), index)
            for index, (criterion, verdict) in enumerate(zip(criteria, verdicts, strict=True))
            if verdict.state != "met"
        ),
        default=None,
    )
    return None if furthest is None else verdicts[furthest[1]]


def _for_rows(criterion: Criterion, verdict: Verdict, need: str, bundle: str) -> Iterator[NextStep]:
    label = _label(criterion)
    if verdict.state == "unproven" and verdict.more is not None and _right_side(criterion, verdict):
        low, high = verdict.more
        rows = f"test rows with {verdict.more_of}" if verdict.more_of else "test rows"
        yield NextStep(
            what=f"Label {low:,} – {high:,} more {rows}: {verdict.criterion} is likely true, "
            "and that many would show it.",
            command=f"sartor judge {bundle} more.csv",
            cost=_labelling(high),
            seconds=high * _SECONDS_A_LABEL,
        )
    elif verdict.n and not _right_side(criterion, verdict):
        # Half as much again as was judged is a guess; a learning curve knows better.
        count = max(50, verdict.n // 2)
        rows = f"training rows with label={label}" if label else "training rows"
        yield NextStep(
            what=f"Add about {count:,} {rows}: {verdict.criterion} stands at {verdict.value:.3g}.",
            command=f"sartor run {need}",
            cost=_labelling(count),
            seconds=count * _SECONDS_A_LABEL,
        )
    elif verdict.state == "unproven" and verdict.n and verdict.more is None:
        yield NextStep(
            what=f"Label fresh test rows: {verdict.criterion} cannot be shown on these "
            f"({verdict.note}).",
            command=f"sartor judge {bundle} fresh.csv",
            cost=_labelling(verdict.n),
            seconds=verdict.n * _SECONDS_A_LABEL,
        )
    elif not verdict.n and label:
        yield NextStep(
            what=f"Label test rows with label={label}: there are none for {verdict.criterion}.",
            command=f"sartor judge {bundle} more.csv",
            cost=_labelling(50),
            seconds=50 * _SECONDS_A_LABEL,
        )


def _labelling(rows: int) -> str:
    minutes = rows * _SECONDS_A_LABEL / 60
    if minutes < 90:
        return f"about {max(5, 5 * round(minutes / 5))} minutes of labelling"
    return f"about {minutes / 60:.0f} hours of labelling"


def _counts_rows(criterion: Criterion) -> bool:
    return isinstance(check_of(criterion.metric), CountsRows)


def _right_side(criterion: Criterion, verdict: Verdict) -> bool:
    if criterion.wants_more:
        return verdict.value >= criterion.threshold
    return verdict.value <= criterion.threshold


def _label(criterion: Criterion) -> str:
    found = criterion.parameter("label")
    return "" if found is None or isinstance(found, Bound) else str(found)


def _shortfall(criterion: Criterion, verdict: Verdict) -> float:
    worse_end = verdict.low if criterion.wants_more else verdict.high
    missing = abs(worse_end - criterion.threshold)
    width = (verdict.high - verdict.low) / 2
    # An exact or one-sided figure has no width: its miss is taken relative to the threshold.
    return missing / width if width else missing / abs(criterion.threshold or 1)

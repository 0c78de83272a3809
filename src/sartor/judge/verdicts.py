"""From criteria and a subject to verdicts.

"Met" needs no correction for several criteria: the need is met only if all are (intersection-union,
Berger 1982). "Unmet" is claimed if any fails, so it goes through Holm's step-down procedure (Holm
1979). Holm is run with intervals instead of p-values: with r criteria not yet rejected, those
are rejected whose interval at alpha / r still excludes the threshold, until none is.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sartor.core.errors import SettingError
from sartor.core.near import near_miss
from sartor.judge.alpha import WORN, two_sided
from sartor.judge.api import (
    CannotMeasure,
    CountsRows,
    MeasuresArtefact,
    Part,
    Subject,
    TakesPrices,
)
from sartor.judge.intervals import interval
from sartor.judge.planning import more_rows
from sartor.judge.resolve import check_of, metrics, rows_where, slice_columns, words
from sartor.need.criterion import Comparison, Criterion
from sartor.need.verdict import State, Verdict

_Ends = Sequence[tuple[float, float, State]]
"""Low, high and what they prove, a part each."""


@dataclass(frozen=True, slots=True)
class RowsBehind:
    """A criterion that counts rows, on the rows of its slice.

    Args:
        rows: Indices into the whole subject.
        parts: What must hold.
        groups: Group of each row of the slice, or None.
    """

    criterion: Criterion
    rows: list[int]
    parts: tuple[Part, ...]
    groups: tuple[str, ...] | None


def judge(
    criteria: Sequence[Criterion], subject: Subject, *, look: int = 1, seed: int = 0
) -> list[Verdict]:
    """One verdict a criterion, in order.

    What cannot be measured on the subject (a recorded rival has no latency) is unproven with `n` 0,
    and the note says why.

    Args:
        criteria: Of the need.
        subject: Answers on the test rows, and the bundle.
        look: Which different look at these test rows this is, from 1 (see `ledger`).
        seed: Of the bootstrap.

    Raises:
        SettingError: If a metric is unknown or `look` is below 1.
    """
    if look < 1:
        raise SettingError(f"look must be 1 or more. Got {look}.", fix="count looks from 1.")
    subject = _timed_once(subject)
    evidence = [gather(criterion, subject) for criterion in criteria]
    counted = [found for found in evidence if isinstance(found, RowsBehind)]
    ends = {
        id(found): list(_ends(found, two_sided(found.criterion.confidence, look), seed))
        for found in counted
    }
    failed = _holm(counted, ends, look, seed)
    return [
        _verdict(found, ends[id(found)], look, proven_to_fail=id(found) in failed)
        if isinstance(found, RowsBehind)
        else found
        for found in evidence
    ]


def priced_anew(
    criteria: Sequence[Criterion], verdicts: Sequence[Verdict], subject: Subject
) -> list[Verdict]:
    """Stored verdicts, but those that follow from prices, which may have changed since.

    They look at no row, so judging them again spends nothing.
    """
    again = [c for c in criteria if isinstance(check_of(c.metric), TakesPrices)]
    found = {v.criterion: v for v in judge(again, subject)}
    return [found.get(verdict.criterion, verdict) for verdict in verdicts]


def gather(criterion: Criterion, subject: Subject) -> RowsBehind | Verdict:
    """The rows and sums behind a criterion, or at once its verdict where rows do not matter."""
    check = check_of(criterion.metric, subject.target)
    if check is None:
        known = metrics(subject.target)
        raise SettingError(
            f"No metric is called {criterion.metric!r}.", fix=near_miss(criterion.metric, known)
        )
    try:
        if isinstance(check, MeasuresArtefact):
            found = check.measure(criterion, subject)
            state = state_of(found.low, found.high, criterion.comparison, criterion.threshold)
            return Verdict(
                criterion.text, found.value, found.low, found.high, found.n, state, note=found.note
            )
        if not isinstance(check, CountsRows):
            raise SettingError(
                f"The check behind {criterion.metric!r} measures neither rows nor a bundle.",
                fix="give it `parts` or `measure` (see sartor.judge.api).",
            )
        rows, sliced = cut(criterion, subject)
        if not rows:
            return _nothing(criterion, "no row of the test set is in this slice")
        parts = check.parts(criterion, sliced)
    except CannotMeasure as lack:
        return _nothing(criterion, f"not measured: {lack.what} {lack.fix}")
    return RowsBehind(criterion, rows, parts, tuple(sliced.groups) if sliced.groups else None)


def cut(criterion: Criterion, subject: Subject) -> tuple[list[int], Subject]:
    """The rows of a criterion's slice, and the subject on them."""
    if criterion.where is None:
        return list(range(len(subject.examples))), subject
    rows = rows_where(criterion.where, slice_columns(subject.examples))
    return rows, replace(
        subject,
        examples=subject.examples.take(rows),
        answers=[subject.answers[row] for row in rows],
        baseline=None if subject.baseline is None else [subject.baseline[row] for row in rows],
        groups=None if subject.groups is None else [subject.groups[row] for row in rows],
    )


def state_of(low: float, high: float, comparison: Comparison, threshold: float) -> State:
    """What an interval proves against a threshold."""
    met, unmet = {
        ">=": (low >= threshold, high < threshold),
        ">": (low > threshold, high <= threshold),
        "<=": (high <= threshold, low > threshold),
        "<": (high < threshold, low >= threshold),
        "==": (low == high == threshold, not low <= threshold <= high),
        "!=": (not low <= threshold <= high, low == high == threshold),
    }[comparison]
    return "met" if met else "unmet" if unmet else "unproven"


def _holm(
    evidence: Sequence[RowsBehind], ends: Mapping[int, _Ends], look: int, seed: int
) -> set[int]:
    """Those, by `id`, that are shown to fail at the family-wise error of the look."""
    left = [found for found in evidence if _measurable(found)]
    rejected: set[int] = set()
    while left:
        fails = {
            id(found)
            for found in left
            # What does not fail uncorrected cannot fail corrected.
            if any(state == "unmet" for _, _, state in ends[id(found)])
            and _fails(found, look, len(left), seed)
        }
        if not fails:
            break
        rejected |= fails
        left = [found for found in left if id(found) not in fails]
    return rejected


def _fails(found: RowsBehind, look: int, remaining: int, seed: int) -> bool:
    # A criterion of several parts fails if any does: Bonferroni over its parts.
    alpha = two_sided(found.criterion.confidence, look) / remaining / len(found.parts)
    return any(state == "unmet" for _, _, state in _ends(found, alpha, seed))


def _ends(found: RowsBehind, alpha: float, seed: int) -> Iterator[tuple[float, float, State]]:
    for part in found.parts:
        if part.statistic.n == 0:
            yield 0.0, 1.0, "unproven"
            continue
        low, high = interval(part.statistic, alpha, seed, found.groups)
        yield low, high, state_of(low, high, part.comparison, part.threshold)


def _verdict(found: RowsBehind, ends: _Ends, look: int, *, proven_to_fail: bool) -> Verdict:
    if not _measurable(found):
        return _nothing(found.criterion, f"no row to take {found.parts[0].name} from")
    notes = [
        f"{part.name} {part.statistic.observed:.3f} "
        f"({low:.3f} – {high:.3f}, n = {part.statistic.n}), {state}"
        for part, (low, high, state) in zip(found.parts[1:], ends[1:], strict=True)
    ]
    state: State = "unmet" if proven_to_fail else "unproven"
    if all(one == "met" for _, _, one in ends):
        state = "met" if look <= WORN else "unproven"
    elif not proven_to_fail and any(one == "unmet" for _, _, one in ends):
        notes.append("fails on its own, but not beyond doubt among so many criteria")
    verdict = Verdict(
        criterion=found.criterion.text,
        value=found.parts[0].statistic.observed,
        low=ends[0][0],
        high=ends[0][1],
        n=found.parts[0].statistic.n,
        state=state,
        note="; ".join(notes),
    )
    if state != "unproven":
        return verdict
    if look >= WORN:
        worn = f"this test set is worn: it was looked at {WORN} times, and needs fresh rows"
        return replace(verdict, note="; ".join([*notes, worn]))
    return _with_forecast(verdict, found, ends, look)


def _with_forecast(verdict: Verdict, found: RowsBehind, ends: _Ends, look: int) -> Verdict:
    """How many more rows would decide, from the part that needs most of those not yet decided.

    They would be judged together with these, which is a further look at these.
    """
    confidence = found.criterion.confidence
    alpha, then = two_sided(confidence, look), two_sided(confidence, look + 1)
    needed: list[tuple[tuple[int, int], str]] = []
    for part, (low, high, state) in zip(found.parts, ends, strict=True):
        if state != "unproven":
            continue
        more = more_rows(part, (low, high), alpha, then)
        if more is None:
            note = "so near its threshold that no practical number of rows decides"
            if part is not found.parts[0]:
                note = f"{part.name}: {note}"
            return replace(verdict, note="; ".join(filter(None, [verdict.note, note])))
        if not part.of and part.statistic.n:
            # Rows that count cannot be picked out beforehand, so whole rows are asked for.
            share = part.statistic.n / len(found.rows)
            more = (int(np.ceil(more[0] / share)), int(np.ceil(more[1] / share)))
        needed.append((more, part.of))
    if not needed:
        return verdict
    more, of = max(needed)
    where = words(found.criterion.where) if found.criterion.where is not None else ""
    return replace(verdict, more=more, more_of=" and ".join(filter(None, [of, where])))


def _measurable(found: RowsBehind) -> bool:
    return found.parts[0].statistic.n > 0


def _nothing(criterion: Criterion, why: str) -> Verdict:
    return Verdict(criterion.text, 0.0, 0.0, 0.0, 0, "unproven", note=why)


def _timed_once(subject: Subject) -> Subject:
    """Several latency criteria read one timing."""
    measure = subject.timing
    if measure is None:
        return subject
    taken: list[np.ndarray] = []

    def once() -> np.ndarray:
        if not taken:
            taken.append(measure())
        return taken[0]

    return replace(subject, timing=once)

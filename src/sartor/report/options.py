"""What may be compared: candidates and artefacts under one number each, and which none beats."""

from collections.abc import Sequence
from dataclasses import dataclass

from sartor.report.result import Artefact, Result
from sartor.report.words import bound


@dataclass(frozen=True, slots=True)
class Option:
    """A candidate or artefact under the number that the scatters show it by.

    `score` is the leading metric's; `at_least` says that it was bounded by the measured drop.
    """

    number: int
    name: str
    kind: str
    score: float | None
    at_least: bool
    size_mb: float | None
    latency_ms: float | None

    @property
    def measured(self) -> bool:
        return (self.score, self.size_mb, self.latency_ms) != (None, None, None)


def leading_metric(found: Result) -> str:
    """The metric to compare candidates by: the need's first that they were scored on."""
    scored = {name for candidate in found.candidates for name in candidate.scores}
    for verdict in found.verdicts:
        criterion = bound(verdict.criterion)
        for name in (verdict.criterion, criterion.metric if criterion else ""):
            if name in scored:
                return name
    if found.gap.metric in scored:
        return found.gap.metric
    return next((name for c in found.candidates for name in c.scores), "")


def options_of(found: Result, metric: str) -> list[Option]:
    """Candidates, then artefacts, numbered from 1 as the page lists them."""
    options = [
        Option(
            number,
            candidate.label or candidate.rung,
            "chosen" if candidate.chosen else "candidate",
            candidate.scores.get(metric),
            False,
            candidate.size_mb,
            candidate.latency_ms,
        )
        for number, candidate in enumerate(found.candidates, 1)
    ]
    chosen = next((c.scores.get(metric) for c in found.candidates if c.chosen), None)
    for number, artefact in enumerate(found.artefacts, len(options) + 1):
        score, at_least = _artefact_score(artefact, metric, chosen)
        options.append(
            Option(
                number,
                artefact.name,
                "bound" if at_least else "artefact",
                score,
                at_least,
                artefact.size_mb,
                artefact.latency_p95_ms,
            )
        )
    return options


def _artefact_score(
    artefact: Artefact, metric: str, chosen: float | None
) -> tuple[float | None, bool]:
    """Its own score, or else the chosen candidate's less the worst drop, which it is at least."""
    if metric in artefact.scores:
        return artefact.scores[metric], False
    if chosen is None or artefact.worst_drop is None:
        return None, False
    return chosen - max(artefact.worst_drop, 0.0), True


def prefers_less(found: Result, metric: str) -> bool:
    """Whether the need asks for less of the metric that is compared, as of errors."""
    for verdict in found.verdicts:
        criterion = bound(verdict.criterion)
        if criterion is not None and metric in (verdict.criterion, criterion.metric):
            return not criterion.wants_more
    return False


def front(options: Sequence[Option], *, less: bool = False) -> list[Option]:
    """The Pareto front over score, size and latency: those that no other beats on all of them.

    Only what has a score and a size can be compared; a latency that was not measured beats none.
    The smallest first.

    Args:
        options: To compare.
        less: Whether a lower score is the better one.
    """
    known = [o for o in options if o.score is not None and o.size_mb is not None]
    best = [o for o in known if not any(_beats(other, o, less) for other in known)]
    return sorted(best, key=lambda o: (o.size_mb or 0.0, o.number))


def _beats(one: Option, other: Option, less: bool) -> bool:
    mine, theirs = _costs(one, less), _costs(other, less)
    return all(m <= t for m, t in zip(mine, theirs, strict=True)) and mine != theirs


def _costs(option: Option, less: bool) -> tuple[float, float, float]:
    never = float("inf")
    score = -never if option.score is None else -option.score if less else option.score
    size = never if option.size_mb is None else option.size_mb
    latency = never if option.latency_ms is None else option.latency_ms
    return -score, size, latency

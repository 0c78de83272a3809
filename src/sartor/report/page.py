"""The report: one HTML page that needs nothing but itself.

No script, no fetch, and a content policy that forbids both; every text is escaped by the template
engine. The page's parts are views computed here and drawn by `templates/`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from sartor.need.verdict import Verdict
from sartor.report import charts, confusion, numbers
from sartor.report.costs import CostWords
from sartor.report.glossary import changes, glosses
from sartor.report.headline import headline
from sartor.report.options import Option, front, leading_metric, options_of, prefers_less
from sartor.report.result import Candidate, MoreLabels, Result, Rung, read_result
from sartor.report.words import Words, bound, clip, known_language, measured, short, translator

_MOST_CURVES = 6
_MOST_TRIALS = 20


@dataclass(frozen=True, slots=True)
class VerdictView:
    verdict: Verdict
    strip: charts.Strip | None
    measured: bool


@dataclass(frozen=True, slots=True)
class RungView:
    """`actual` sums the seconds of the candidates on that rung; None where none was tried."""

    rung: Rung
    actual: float | None
    forecast: charts.Forecast


@dataclass(frozen=True, slots=True)
class CurveView:
    label: str
    chosen: bool
    loss: charts.Curves | None
    accuracy: charts.Curves | None


@dataclass(frozen=True, slots=True)
class GrowthView:
    forecast: MoreLabels
    chart: charts.Growth
    sentence: str


def render(result: Mapping[str, Any], *, language: str = "en") -> str:
    """The page of a run.

    Args:
        result: A run's result.json; all but `verdicts` may be absent.
        language: "en" or "zh"; English for any other.

    Raises:
        WorkspaceError: If `verdicts` is missing or a part is not of its form.
    """
    language = known_language(language)
    found = read_result(result)
    words = Words.of(language)
    metric = leading_metric(found)
    options = [option for option in options_of(found, metric) if option.measured]
    unbeaten = front(options, less=prefers_less(found, metric))
    ladder, ticks = _ladder(found)
    return (
        _templates()
        .get_template("page.html")
        .render(
            _=translator(language),
            w=words,
            language=language,
            r=found,
            headline=headline(found, words.translate),
            verdicts=[VerdictView(v, charts.strip(v), measured(v)) for v in found.verdicts],
            glosses=glosses(found.verdicts, words.translate),
            change_words=changes(words.translate),
            ladder=ladder,
            ladder_ticks=ticks,
            metric=short(metric),
            short=short,
            options=options,
            unbeaten={option.number for option in unbeaten} if len(unbeaten) > 1 else set(),
            by_size=_scatter(found, metric, options, "size_mb"),
            by_latency=_scatter(found, metric, options, "latency_ms"),
            curves=_curves(found.candidates, words.translate),
            uncounted=max(0, sum(1 for c in found.candidates if c.history) - _MOST_CURVES),
            candidates=_listed(found.candidates),
            unlisted=len(found.candidates) - len(_listed(found.candidates)),
            growths=_growths(found.labels, words),
            costs=CostWords(words, found.serving_costs) if found.serving_costs else None,
            matrix=confusion.matrix(found.confusion),
            plot=numbers.plot(found.numbers),
            residuals=numbers.residuals(found.numbers),
            clip=clip,
            charts=charts,
        )
    )


@lru_cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("sartor.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _ladder(found: Result) -> tuple[list[RungView], tuple[charts.Tick, ...]]:
    planned = {(rung.rung, rung.label): rung for rung in found.plan}
    by_rung = {rung.rung: rung for rung in reversed(found.plan)}
    spent: dict[int, float] = {}
    unplanned: list[Candidate] = []
    for candidate in found.candidates:
        rung = planned.get((candidate.rung, candidate.label)) or by_rung.get(candidate.rung)
        if rung is None:
            unplanned.append(candidate)
        elif candidate.seconds is not None:
            spent[id(rung)] = spent.get(id(rung), 0.0) + candidate.seconds
    rows = [(rung, spent.get(id(rung))) for rung in found.plan]
    rows += [(Rung(c.rung, c.label), c.seconds) for c in unplanned]
    placed, ticks = charts.forecasts([(rung.seconds, actual) for rung, actual in rows])
    return [
        RungView(rung, actual, at) for (rung, actual), at in zip(rows, placed, strict=True)
    ], ticks


def _scatter(
    found: Result, metric: str, options: Sequence[Option], by: str
) -> charts.Scatter | None:
    marks: list[charts.Mark] = []
    for option in options:
        x = option.size_mb if by == "size_mb" else option.latency_ms
        if x is not None and option.score is not None:
            marks.append(charts.Mark(option.number, x, option.score, option.kind))
    stated = {"size_mb": ("size_mb",), "latency_ms": ("latency_p95_ms",)}[by]
    return charts.scatter(marks, _threshold(found, stated), _threshold(found, (metric,)))


def _threshold(found: Result, metrics: Sequence[str]) -> float | None:
    """Of the first criterion on one of the metrics; a slice or a baseline is another scale."""
    for verdict in found.verdicts:
        criterion = bound(verdict.criterion)
        if criterion is None or criterion.where or criterion.relative_to:
            continue
        if criterion.text in metrics or (criterion.metric in metrics and not criterion.parameters):
            return criterion.threshold
    return None


def _curves(candidates: Sequence[Candidate], _: Callable[[str], str]) -> list[CurveView]:
    """The chosen candidate first, then the others in the order they were tried."""
    views: list[CurveView] = []
    for candidate in sorted(candidates, key=lambda c: not c.chosen):
        steps = candidate.history
        loss = charts.curves(
            [
                (_("training"), [(s.step, s.loss) for s in steps if s.loss is not None]),
                (
                    _("validation"),
                    [(s.step, s.validation_loss) for s in steps if s.validation_loss is not None],
                ),
            ]
        )
        accuracy = charts.curves(
            [(_("accuracy"), [(s.step, s.accuracy) for s in steps if s.accuracy is not None])]
        )
        if loss or accuracy:
            views.append(
                CurveView(candidate.label or candidate.rung, candidate.chosen, loss, accuracy)
            )
    return views[:_MOST_CURVES]


def _growths(labels: Sequence[MoreLabels], words: Words) -> list[GrowthView]:
    views: list[GrowthView] = []
    for each in labels:
        chart = charts.growth(
            each.measured.points(), each.expected.points(), each.rows or 0, each.target
        )
        if chart is not None:
            views.append(GrowthView(each, chart, words.said(each.said, each.words)))
    return views


def _listed(candidates: Sequence[Candidate]) -> list[tuple[int, Candidate]]:
    """Candidates with their numbers; of a search's many trials only the likeliest to do."""
    numbered = list(enumerate(candidates, 1))
    trials = [(n, c) for n, c in numbered if c.trial is not None and not c.chosen]
    best = sorted(trials, key=lambda t: (-(t[1].chance or 0.0), t[0]))[:_MOST_TRIALS]
    left = {n for n, _ in trials} - {n for n, _ in best}
    return [(n, c) for n, c in numbered if n not in left]

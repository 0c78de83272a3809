"""What cannot be: candidates that no compression and no luck would bring within a criterion.

    size     >= weights of the layers that are run · bytes a weight after the strongest compressor
    latency  >= 2 · 12 · layers · width² · tokens that are read at least / fastest arithmetic
    cost     >= that of as much processor time as the latency, in the least memory there is

    graph    >= weights of the layers that are run and of the words, in float32, in one file

All are floors, not guesses: a candidate is left out only where its floor is beyond the criterion,
so that nothing which could have met the need is missed. What passes here may still prove too large
or too slow once it is measured.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sartor.core.errors import Fault, ModelError, NeedError, SettingError
from sartor.core.types import Backbone, Candidate, Use
from sartor.judge.checks.cost import METRICS as COSTS
from sartor.judge.checks.cost import figure, target_of
from sartor.models.folder import read_config
from sartor.need.costs import PriceBook
from sartor.need.criterion import Criterion
from sartor.search.estimates import SMALLEST_MB, Work
from sartor.shrink.graphs import too_large

_FASTEST = 4.0
"""Int8 products reach at most this many times the probed speed: 4 with VNNI where the probe was of
float32, 2 where it was of bfloat16. Serving reaches a fifth to two thirds of either."""
_SHORTEST = 0.25
"""Share of a text that is read at least: `shorten_texts` leaves a quarter of a long one."""
_LEAST_MB = 0.002
"""A graph, a tokenizer and a manifest that say nothing."""
_SKEW = 0.5
"""The median text may be this much shorter than the mean one."""

Attaches = Callable[[Backbone, Candidate], str | None]
"""Why a method cannot be attached to a backbone, or None."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A rung that is never climbed.

    Args:
        rung: Method.
        backbone: Its name.
        why: Shown to the user.
        criterion: Text of the criterion that binds; "" where the method does not apply.
        floor: Of that criterion's metric, over the rung's candidates.
    """

    rung: str
    backbone: str
    why: str
    criterion: str = ""
    floor: float = 0.0


@dataclass(frozen=True, slots=True)
class Body:
    """The part of a backbone that a candidate ships.

    Args:
        backbone: Gives width, depth and the number of weights.
        depth: Layers that are run: up to the highest one read.
    """

    backbone: Backbone
    depth: int

    @property
    def size_mb(self) -> float:
        """MB at least, of the layers' weights: of the table of words, any row may be left out."""
        layers = 12 * self.backbone.width**2 * self.depth
        return max(min(layers, self.backbone.parameters) * SMALLEST_MB, _LEAST_MB)

    @property
    def weights(self) -> int:
        """Numbers at least in the graph that is exported, before words are left out of it."""
        layers = 12 * self.backbone.width**2 * self.depth
        return min(layers + _words_in(self.backbone), self.backbone.parameters)

    def latency_ms(self, work: Work) -> float:
        """Milliseconds at least, for one text of average length."""
        operations = 24 * self.depth * self.backbone.width**2 * _SHORTEST * work.text_tokens
        return operations / (_FASTEST * work.gflops * 1e6)


@dataclass(frozen=True, slots=True)
class Sieve:
    """Tells which candidates are worth training.

    Args:
        criteria: Of the need; those on the rows bind nothing here.
        attaches: See `Attaches`.
        book: Prices; without them no cost binds.
    """

    criteria: Sequence[Criterion] = ()
    attaches: Attaches = field(default=lambda _, __: None)
    book: PriceBook | None = None

    def why_not(self, body: Body, candidate: Candidate, work: Work) -> Dropped | None:
        """What rules a candidate out, or None."""
        name, backbone = candidate.method, body.backbone
        for criterion in self.criteria:
            floor = _floor(criterion, body, work, self.book)
            if floor is not None and not possible(criterion, floor):
                why = f"{criterion.text} is out of reach: {_sentence(criterion, body, floor)}"
                return Dropped(name, backbone.name, why, criterion.text, floor)
        reason = too_large(body.weights) or self.attaches(backbone, candidate)
        return Dropped(name, backbone.name, reason) if reason else None


def refuse_empty(file: str, criteria: Iterable[Criterion], dropped: Sequence[Dropped]) -> None:
    """Refuse a ladder of which nothing is left.

    Args:
        file: The need file, as the user wrote it.
        criteria: Of the need.
        dropped: All rungs there were.

    Raises:
        NeedError: Naming every criterion that binds, and the value that would not.
        SettingError: If no method applies to any backbone.
    """
    best: dict[str, Dropped] = {}
    for each in filter(lambda d: d.criterion, dropped):
        known = best.setdefault(each.criterion, each)
        if _nearer(each, known, criteria):
            best[each.criterion] = each
    if not best:
        reasons = "; ".join(dict.fromkeys(f"{d.rung}, {d.backbone}: {d.why}" for d in dropped))
        raise SettingError(
            f"{file}: no method can be used: {reasons or 'the ladder has no rung'}.",
            fix="name other methods under prefer.methods, or another backbone under"
            " prefer.backbones.",
        )
    faults = [
        Fault(
            criterion.line,
            f"no candidate can meet the need: {best[criterion.text].why}.",
            f"write {_reachable(criterion, best[criterion.text].floor)},"
            f"{' name another target,' if criterion.metric in COSTS else ''} or name a smaller"
            " backbone under prefer.backbones.",
        )
        for criterion in criteria
        if criterion.text in best
    ]
    raise NeedError(file, faults)


def _floor(criterion: Criterion, body: Body, work: Work, book: PriceBook | None) -> float | None:
    """The best value that the criterion's metric can take; None where nothing is known."""
    if criterion.metric in COSTS and book is not None:
        name, target = target_of(criterion, book)
        cpu = body.latency_ms(work) / 1e3
        return figure(criterion, name, target, Use((cpu,), 0.0), cpu)
    of = _FLOORS.get(criterion.metric)
    return None if of is None else of(body, work)


def _words_in(backbone: Backbone) -> int:
    """Numbers in the table of words; 0 where its configuration does not tell."""
    try:
        config = read_config(Path(backbone.path))
    except ModelError:
        return 0  # a language model behind a URL
    words, width = config.get("vocab_size"), config.get("embedding_size", backbone.width)
    return words * width if isinstance(words, int) and isinstance(width, int) else 0


_FLOORS: Mapping[str, Callable[[Body, Work], float]] = {
    "size_mb": lambda body, _: body.size_mb,
    "latency_p50_ms": lambda body, work: _SKEW * body.latency_ms(work),
    "latency_p95_ms": lambda body, work: body.latency_ms(work),
    "latency_p99_ms": lambda body, work: body.latency_ms(work),
    "throughput_per_s": lambda body, work: 1000 / max(body.latency_ms(work), 1e-9),
}
"""Metrics of the artefact to the best that can be hoped for."""


def possible(criterion: Criterion, floor: float) -> bool:
    """Whether a criterion can hold where its metric is at best `floor`."""
    wanted = criterion.threshold
    return floor <= wanted if not criterion.wants_more else floor >= wanted


def _nearer(one: Dropped, other: Dropped, criteria: Iterable[Criterion]) -> bool:
    more = any(c.wants_more for c in criteria if c.text == one.criterion)
    return one.floor > other.floor if more else one.floor < other.floor


def _sentence(criterion: Criterion, body: Body, floor: float) -> str:
    shipped = f"{body.backbone.name} with {body.depth} layers"
    if criterion.metric == "size_mb":
        return f"{shipped} takes at least {_round(floor)} MB even when compressed"
    if criterion.metric in COSTS:
        return f"{shipped} costs at least {_round(floor)} by its arithmetic alone"
    if criterion.wants_more:
        return f"{shipped} answers at most {_round(floor)} requests a second on this machine"
    return f"{shipped} takes at least {_round(floor)} ms on this machine"


def _reachable(criterion: Criterion, floor: float) -> str:
    # A floor is not a promise: half as much again is a value worth trying.
    value = floor / 1.5 if criterion.wants_more else floor * 1.5
    head, bracket, _ = criterion.text.rpartition("]")
    metric = f"{head}{bracket}" if bracket else criterion.metric
    return f"{metric} {criterion.comparison} {_round(value)}"


def _round(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"

"""When no candidate reaches the need alone: soups, ensembles and cascades of those that were tried.

They enter after the climb, as candidates like any other, and only where they pay: a soup is as
small and fast as one of its fits, so it competes as it is; an ensemble or a cascade runs its
members' encoders, so its chance must be clearly higher than the best single candidate's (see
`mixed`), and its artefact must keep the criteria of size and latency (`step_back`). Where the best
single candidate proves too slow once it is built, a cascade may ask it about fewer rows
(`climb_down`).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from sartor.core.events import Emit, Note
from sartor.core.types import Candidate
from sartor.need.verdict import Verdict
from sartor.search.assess import Held
from sartor.search.cascading import Latencies, Pair, affordable
from sartor.search.evidence import Evidence
from sartor.search.ladder import ENOUGH, Climb, Parts, Scored, Tried, best_of, cut_by_budget, reason
from sartor.search.mixed import Terms, cascade, ensemble, reads, said, stack

SEEDS = 2
"""Further fits of the best candidate. Three members of one kind give most of what more would."""
_MOST_MODELS = 24
"""Candidates that an ensemble chooses among: the better half of a hundred would change nothing."""
_DEAR = 8
"""Of those, how many may be the dear member of a cascade."""
_CHEAP = 0.5
"""What a cascade's cheap member may compute at most, of what the dear one does."""
_OVERHEAD = 0.1
"""Of the dear member's time, what any graph takes for tokens, calls and answers."""


def join(climb: Climb, held: Held, terms: Terms) -> Climb:
    """The climb with soups and joined candidates tried, where it did not reach the need."""
    if climb.reached or climb.best is None:
        return climb
    tried = [*climb.tried, *_reseeded(climb.tried, held, terms)]
    tried += _soups(tried, held, terms)
    best = best_of(tried)
    assert best is not None
    assert best.assessment is not None
    found = Evidence.of(_alike(tried, best, terms), held)
    makers = (
        ensemble,
        lambda found, best, terms: cascade(found, _pairs(found, terms), best, terms),
        stack,
    )
    # Each has to be clearly above what was taken before: the more it chooses, the later it comes.
    for make in makers:
        assert best.assessment is not None
        if found is None or best.assessment.chance >= ENOUGH:
            break
        if made := make(found, best, terms):
            tried.append(made)
            best = best if made.why else made
    assert best.assessment is not None
    return Climb(tuple(tried), best, best.assessment.chance >= ENOUGH)


def climb_down(
    climb: Climb,
    verdicts: Sequence[Verdict],
    holds: Callable[[Callable[[Latencies], Latencies]], bool],
    held: Held,
    terms: Terms,
) -> Climb | None:
    """The climb with a cascade to its best candidate, where that is too slow to answer every row.

    Args:
        climb: Ended, and its best candidate built.
        verdicts: On the size and the speed of what was built.
        holds: See `cascading.affordable`.
        held: Validation rows and criteria.
        terms: What joining may use and spend.

    Returns:
        None where the best candidate is fast enough, or no cascade would be and do clearly better
        than its cheap member alone.
    """
    best = climb.best
    unmet = [v for v in verdicts if v.state == "unmet"]
    # A cascade is larger than its dear member. A size is exact and has no n.
    if best is None or not unmet or not all(v.n for v in unmet) or not _plain(best):
        return None
    found = Evidence.of(_alike(climb.tried, best, terms), held)
    if found is None or found.models[0] is not best:
        return None
    whole = _cost(best, terms)
    if not whole:
        return None
    pairs: list[Pair] = []
    shares: dict[float, float] = {}
    for i, t in enumerate(found.models):
        ratio = _cost(t, terms) / max(whole, 1.0)
        if ratio > _CHEAP:
            continue
        if ratio not in shares:
            shares[ratio] = affordable(holds, ratio + _OVERHEAD, len(found.truth))
        if shares[ratio]:
            pairs.append(Pair(i, 0, shares[ratio]))
    if not pairs:
        return None
    cheapest = best_of([found.models[p.cheap] for p in pairs])
    assert cheapest is not None
    made = cascade(found, pairs, cheapest, terms)
    if made is None:
        return None
    assert made.assessment is not None
    reached = made.assessment.chance >= ENOUGH
    return Climb((*climb.tried, made), made, reached) if not made.why else None


def step_back(climb: Climb, verdicts: Sequence[Verdict], emit: Emit) -> Climb | None:
    """The climb with its best single candidate, where the artefact of a joined one costs too much.

    Args:
        climb: As `join` left it.
        verdicts: On the size and the latency of the artefact that would ship.
        emit: Told of it.

    Returns:
        None where the winner is a single one, or pays its way.
    """
    best = climb.best
    unmet = next((v for v in verdicts if v.state == "unmet"), None)
    if best is None or best.parts is None or _plain(best) or unmet is None:
        return None
    refused = replace(best, why=f"{unmet.criterion} is unmet: {unmet.value:.4g}")
    kind = best.parts.kind
    emit(Note(f"The {kind} costs too much ({refused.why}): the best single candidate ships."))
    tried = tuple(refused if t is best else t for t in climb.tried)
    single = best_of([t for t in tried if _plain(t)])
    assert single is not None, "what was joined has members"
    assert single.assessment is not None
    return Climb(tried, single, single.assessment.chance >= ENOUGH)


def seeds_of(tried: Sequence[Tried]) -> list[Candidate]:
    """The best candidate under further seeds; none where it is a closed form, or was cut."""
    best = best_of([t for t in _sound(tried) if t.parts is None])
    if best is None or best.cut or reads(best) not in ("tokens", "states"):
        return []
    first = best.candidate
    return [replace(first, seed=first.seed + i) for i in range(1, SEEDS + 1)]


def _reseeded(tried: Sequence[Tried], held: Held, terms: Terms) -> list[Tried]:
    """Fits of the best candidate under further seeds, as far as the budget goes."""
    best = best_of([t for t in _sound(tried) if t.parts is None])
    found: list[Tried] = []
    for candidate in seeds_of(tried):
        assert best is not None
        name = f"seed {candidate.seed} {candidate.key[:16]}"
        if terms.refit is None or not terms.affords(name, best.seconds):
            break
        scored = terms.refit(candidate)
        if isinstance(scored, Exception):
            found.append(Tried(best.rung, candidate, "failed", reason(scored)))
            break
        why = cut_by_budget(scored) or f"the best one again, seed {candidate.seed}"
        made = held.assess(candidate, scored)
        found.append(Tried(best.rung, candidate, "tried", why, scored.seconds, scored, made))
        terms.emit(said(f"{candidate.label()}, seed {candidate.seed}", found[-1]))
    return found


def _soups(tried: Sequence[Tried], held: Held, terms: Terms) -> list[Tried]:
    """One soup of each group of looped fits that have one architecture and start."""
    groups: dict[tuple[str, str], list[Tried]] = {}
    for t in _sound(tried):
        if reads(t) == "tokens":
            layers = str(t.candidate.settings.get("layers"))
            groups.setdefault((t.candidate.backbone, layers), []).append(t)
    found: list[Tried] = []
    for group in groups.values():
        # A taste is a pass over the validation rows, less than an epoch's third.
        seconds = min(t.seconds for t in group) / 3 * (len(group) - 1)
        if len(group) < 2 or not terms.affords(f"soup {group[0].candidate.key[:16]}", seconds):
            continue
        soup = terms.taste(group)
        if len(soup.kept) < 2:
            continue
        shares = tuple((float(i in soup.kept), t) for i, t in enumerate(group))
        kept = [group[i] for i in soup.kept]
        first = group[0].candidate
        settings = {"of": ", ".join(t.candidate.label() for t in kept)}
        candidate = replace(first, method="soup", settings=settings)
        scored = Scored(soup.validation_logits, soup.train_logits, seconds)
        assessment = held.assess(candidate, scored)
        parts = Parts("soup", shares)
        made = Tried("soup", candidate, "tried", "", seconds, scored, assessment, parts=parts)
        terms.emit(said(f"soup of {len(kept)} {first.method} fits, {first.backbone}", made))
        found.append(made)
    return found


def _pairs(found: Evidence, terms: Terms) -> list[Pair]:
    """A cheap model and one of the best, which costs at least twice as much."""
    cost = [_cost(t, terms) for t in found.models]
    return [
        Pair(cheap, dear)
        for dear in range(min(len(cost), _DEAR))
        for cheap in range(len(cost))
        # Models of columns alone cost nothing that a cheaper one could spare.
        if cost[dear] and cost[cheap] <= _CHEAP * cost[dear]
    ]


def _cost(tried: Tried, terms: Terms) -> float:
    return terms.cost((tried.parts.members[0][1] if tried.parts else tried).candidate)


def _plain(tried: Tried) -> bool:
    """Whether it is one model: a fit, or a soup of fits."""
    return tried.parts is None or tried.parts.kind == "soup"


def _alike(tried: Sequence[Tried], best: Tried, terms: Terms) -> list[Tried]:
    """Models that can be one graph with the best candidate, that one and the best first."""
    if best.earlier or reads(best) == "answers":
        found = best_of(_sound(tried))
        if found is None:
            return []
        best = found
    anchor = best
    if anchor is None:
        return []
    reading = terms.reading(anchor.candidate)
    found = [t for t in _sound(tried) if _plain(t) and terms.reading(t.candidate) == reading]
    return sorted(found, key=lambda t: t is not best)[:_MOST_MODELS]


def _sound(tried: Sequence[Tried]) -> list[Tried]:
    """What was fitted and whose logits are numbers of a graph's own, the lowest log-loss first."""
    ready = [
        t
        for t in tried
        # An earlier bundle has a graph and no weights of ours, and its tokenizer may be another.
        if not t.earlier
        and t.assessment is not None
        and reads(t) != "answers"
        and t.scored is not None
        and np.isfinite(t.scored.validation_logits).all()
    ]

    def loss(t: Tried) -> float:
        assert t.assessment is not None
        return t.assessment.log_loss

    return sorted(ready, key=loss)

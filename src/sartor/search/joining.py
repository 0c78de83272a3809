"""When no candidate reaches the need alone: soups and ensembles of those that were tried.

They enter after the climb, as candidates like any other, and only where they pay: a soup is as
small and fast as one of its fits, so it competes as it is; an ensemble runs its members' encoders,
so its chance must be clearly higher than the best single candidate's, on validation rows that had
no say in its weights (`pool.cross_fitted`), and its artefact must keep the criteria of size and
latency (`step_back`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sartor.core.events import CandidateTried, Emit, Note
from sartor.core.protocols import Floats
from sartor.core.types import Backbone, Candidate
from sartor.need.verdict import Verdict
from sartor.search.assess import Held
from sartor.search.estimates import SMALLEST_MB
from sartor.search.folds import FEW
from sartor.search.ladder import (
    ENOUGH,
    Assessment,
    Climb,
    Parts,
    Scored,
    Tried,
    best_of,
)
from sartor.search.pool import Mixture, choose, cross_fitted, split_in_halves
from sartor.tune.api import METHODS
from sartor.tune.soup import Soup

CLEARLY = 0.1
"""By how much more likely an ensemble must be to meet the need than the best single candidate."""
MEMBERS = 4
"""Candidates in an ensemble at most: each is exported, and runs what it shares with no other."""
_MOST_MODELS = 24
"""Candidates that an ensemble chooses among: the better half of a hundred would change nothing."""
_SPLITS = 5
_EXPORT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Terms:
    """What joining may use and spend.

    Args:
        backbones: By name.
        reading: Candidate to what its graph's inputs mean: tokenizer, prefix, cut. Only candidates
            that read alike can be one graph.
        taste: Fits offered to a soup, best first, to the soup; see `tune.soup`.
        affords: Name of a decision and seconds it would cost, to whether the budget has them.
        emit: Progress.
    """

    backbones: Mapping[str, Backbone]
    reading: Callable[[Candidate], str]
    taste: Callable[[list[Tried]], Soup]
    affords: Callable[[str, float], bool]
    emit: Emit


def join(climb: Climb, held: Held, terms: Terms) -> Climb:
    """The climb with soups and an ensemble tried, where it ended without reaching the need."""
    if climb.reached or climb.best is None:
        return climb
    tried = [*climb.tried, *_soups(climb.tried, held, terms)]
    best = best_of(tried)
    assert best is not None
    assert best.assessment is not None
    if best.assessment.chance < ENOUGH and (found := _ensemble(tried, best, held, terms)):
        tried.append(found)
        best = best if found.why else found
    assert best.assessment is not None
    return Climb(tuple(tried), best, best.assessment.chance >= ENOUGH)


def step_back(climb: Climb, verdicts: Sequence[Verdict], emit: Emit) -> Climb | None:
    """The climb with its best single candidate, where the ensemble's artefact costs too much.

    Args:
        climb: As `join` left it.
        verdicts: On the size and the latency of the artefact that would ship.
        emit: Told of it.

    Returns:
        None where the winner is no ensemble, or pays its way.
    """
    best = climb.best
    unmet = next((v for v in verdicts if v.state == "unmet"), None)
    if best is None or best.parts is None or best.parts.kind != "ensemble" or unmet is None:
        return None
    refused = replace(best, why=f"{unmet.criterion} is unmet: {unmet.value:.4g}")
    emit(Note(f"The ensemble costs too much ({refused.why}): the best single candidate ships."))
    tried = tuple(refused if t is best else t for t in climb.tried)
    single = best_of([t for t in tried if t is not refused])
    assert single is not None, "an ensemble has members"
    assert single.assessment is not None
    return Climb(tried, single, single.assessment.chance >= ENOUGH)


def _soups(tried: Sequence[Tried], held: Held, terms: Terms) -> list[Tried]:
    """One soup of each group of looped fits that have one architecture and start."""
    groups: dict[tuple[str, str], list[Tried]] = {}
    for t in _sound(tried):
        if _reads(t) == "tokens":
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
        terms.emit(_said(f"soup of {len(kept)} {first.method} fits, {first.backbone}", made))
        found.append(made)
    return found


def _ensemble(tried: Sequence[Tried], best: Tried, held: Held, terms: Terms) -> Tried | None:
    """The ensemble around the best candidate; with a reason where it does not pay."""
    assert best.assessment is not None
    if _reads(best) == "answers":  # no graph, which others could be merged with
        return None
    reading = terms.reading(best.candidate)
    models = [t for t in _sound(tried) if terms.reading(t.candidate) == reading][:_MOST_MODELS]
    rows = len(held.validation)
    if len(models) < 2 or rows < FEW:
        return None
    stack = np.stack([_scored(t).validation_logits for t in models])
    position = {name: i for i, name in enumerate(held.outputs)}
    truth = np.array([position[str(label)] for label in held.validation.target], np.intp)

    def allowed(chosen: frozenset[int]) -> bool:
        return _has_room([models[i] for i in sorted(chosen)], held, terms)

    mixture = choose(stack, truth, allowed)
    if len(mixture.members) < 2:
        return None
    made = _mixed(models, mixture, stack)
    encoders = len(_encoders([models[i] for i in mixture.members]))
    # The export of one model is set aside from the beginning.
    if not terms.affords(
        f"ensemble {made.candidate.key[:16]}", _EXPORT_SECONDS * (len(mixture.members) - 1)
    ):
        return None
    groups = held.subject(held.validation, ()).groups or rows
    trials = [
        held.assess(made.candidate, Scored(logits, logits, 0.0))
        for logits in (
            cross_fitted(stack, truth, split_in_halves(groups, held.seed + i), allowed)
            for i in range(_SPLITS)
        )
    ]
    decision = held.settle(_scored(made).validation_logits)
    assessment = _mean(trials, decision)
    gain = assessment.chance - best.assessment.chance
    why = ""
    if gain < CLEARLY:
        why = f"chance {assessment.chance:.0%}, not clearly above {best.assessment.chance:.0%}"
        terms.emit(Note(f"An ensemble of {len(mixture.members)} was not taken: {why}."))
    made = replace(made, assessment=assessment, why=why)
    if not why:
        names = f"{len(mixture.members)} candidates, {encoders} encoder" + "s" * (encoders > 1)
        terms.emit(_said(f"ensemble of {names}", made))
    return made


def _mixed(models: Sequence[Tried], mixture: Mixture, stack: Floats) -> Tried:
    """The mixture as a candidate, not yet assessed."""
    chosen = mixture.members
    first = models[chosen[0]].candidate
    of = "; ".join(f"{mixture.weights[i]:.2f} of {models[i].candidate.label()}" for i in chosen)
    members = tuple((float(mixture.scales[i]), models[i]) for i in chosen)
    train = np.stack([_scored(t).train_logits for _, t in members])
    scales = np.array([scale for scale, _ in members])
    scored = Scored(
        mixture.logits(stack),
        np.tensordot(scales, train.astype(np.float64), axes=1).astype(np.float32),
        sum(t.seconds for _, t in members),
    )
    return Tried(
        "ensemble",
        replace(first, method="ensemble", settings={"of": of}),
        "tried",
        "",
        0.0,
        scored,
        parts=Parts("ensemble", members),
    )


def _mean(trials: Sequence[Assessment], decision: Mapping[str, Any]) -> Assessment:
    """What the trials say on average; the decision rule is the one that ships."""
    return Assessment(
        decision,
        {c: float(np.mean([t.scores[c] for t in trials])) for c in trials[0].scores},
        float(np.mean([t.chance for t in trials])),
        float(np.mean([t.log_loss for t in trials])),
    )


def _has_room(members: Sequence[Tried], held: Held, terms: Terms) -> bool:
    """Whether they are few enough, and the weights of their encoders fit the criterion of size."""
    if len(members) > MEMBERS:
        return False
    encoders = _encoders(members)
    bounds = [c.threshold for c in held.criteria if c.metric == "size_mb" and not c.wants_more]
    seen: set[str] = set()
    size = 0.0
    for name in encoders.values():
        backbone = terms.backbones[name]
        # A second fit of a backbone may share its embeddings with the first.
        blocks = 12 * backbone.layers * backbone.width**2
        size += (blocks if name in seen else backbone.parameters) * SMALLEST_MB
        seen.add(name)
    return len(encoders) < 2 or size <= min(bounds, default=np.inf)


def _encoders(members: Sequence[Tried]) -> dict[str, str]:
    """What runs: a frozen backbone's name, or the fit of one that is not, to its backbone."""
    found: dict[str, str] = {}
    for t in members:
        name = t.candidate.backbone
        found[f"frozen {name}" if _reads(t) == "activations" else t.candidate.key] = name
    return found


def _reads(tried: Tried) -> str:
    """As `tune.api.Method.reads`; nothing for what is made of others."""
    method: Any = None if tried.parts else METHODS.get(tried.candidate.method)
    return method.reads if method else ""


def _sound(tried: Sequence[Tried]) -> list[Tried]:
    """Those whose logits are numbers of a graph's own, the lowest log-loss first."""
    ready = [
        t
        for t in tried
        if t.assessment is not None
        and _reads(t) != "answers"
        and t.scored is not None
        and np.isfinite(t.scored.validation_logits).all()
    ]

    def loss(t: Tried) -> float:
        assert t.assessment is not None
        return t.assessment.log_loss

    return sorted(ready, key=loss)


def _scored(tried: Tried) -> Scored:
    assert tried.scored is not None
    return tried.scored


def _said(label: str, tried: Tried) -> CandidateTried:
    found = tried.assessment
    assert found is not None
    return CandidateTried(label, dict(found.scores), found.chance, tried.seconds)

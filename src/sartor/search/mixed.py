"""Candidates made of others: an ensemble and a stack add logits, a cascade chooses between two.

Each is taken only where it is clearly better than what it is measured against, on rows that had no
say in its weights or its threshold (`Evidence.assess`): by its chance of meeting the need, or where
that is no lower, by its log-loss.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sartor.core.events import CandidateTried, Emit, Note
from sartor.core.protocols import Floats
from sartor.core.types import Backbone, Candidate
from sartor.search.assess import Held
from sartor.search.cascading import Pair, Switch, choose_switch
from sartor.search.estimates import SMALLEST_MB
from sartor.search.evidence import Evidence
from sartor.search.ladder import Assessment, Parts, Scored, Tried
from sartor.search.pool import Chooser, Labels, Mixture, Rule, choose
from sartor.search.stacking import MOST_CLASSES, Stack, choose_stack
from sartor.tune.api import METHODS
from sartor.tune.soup import Soup

CLEARLY = 0.1
"""By how much more likely a joined candidate must be to meet the need than a single one."""
LOWER = 0.005
"""Or by how many nats its log-loss must be lower, where it is not less likely."""
_ALIKE = 0.05
"""Chances that differ by less are the same: they are simulated."""
MEMBERS = 4
"""Candidates in an ensemble at most: each is exported, and runs what it shares with no other."""
_EXPORT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Terms:
    """What joining may use and spend.

    Args:
        backbones: By name.
        reading: Candidate to what its graph's inputs mean: tokenizer, prefix, cut. Only candidates
            that read alike can be one graph.
        taste: Fits offered to a soup, best first, to the soup; see `tune.soup`.
        refit: Fits a candidate on the run's rows, or tells what ended it; None where no budget says
            that more fits are worth their time.
        cost: Candidate to what its encoder computes for a token; see `rungs.costs`.
        affords: Name of a decision and seconds it would cost, to whether the budget has them.
        emit: Progress.
    """

    backbones: Mapping[str, Backbone]
    reading: Callable[[Candidate], str]
    taste: Callable[[list[Tried]], Soup]
    refit: Callable[[Candidate], Scored | Exception] | None
    cost: Callable[[Candidate], float]
    affords: Callable[[str, float], bool]
    emit: Emit


def ensemble(found: Evidence, best: Tried, terms: Terms) -> Tried | None:
    """The ensemble around the best candidate; with a reason where it does not pay."""
    models = found.models

    def allowed(chosen: frozenset[int]) -> bool:
        return _has_room([models[i] for i in sorted(chosen)], found.held, terms)

    def chooser(stack: Floats, truth: Labels) -> Mixture:
        return choose(stack, truth, allowed)

    mixture = chooser(found.stack, found.truth)
    chosen = mixture.members
    if len(chosen) < 2:
        return None
    of = "; ".join(f"{mixture.weights[i]:.2f} of {models[i].candidate.label()}" for i in chosen)
    members = tuple((float(mixture.scales[i]), models[i]) for i in chosen)
    candidate = replace(models[chosen[0]].candidate, method="ensemble", settings={"of": of})
    encoders = len(_encoders([t for _, t in members]))
    label = f"ensemble of {len(chosen)} candidates, {encoders} encoder" + "s" * (encoders > 1)
    made = _Made(Parts("ensemble", members), candidate, mixture, label)
    return _weighed(made, found, chooser, best, terms)


def stack(found: Evidence, best: Tried, terms: Terms) -> Tried | None:
    """The stack around the best candidate; with a reason where it does not pay."""
    models = found.models
    if len(found.held.outputs) > MOST_CLASSES or not found.one_label:
        return None

    def allowed(chosen: frozenset[int]) -> bool:
        return _has_room([models[i] for i in sorted(chosen)], found.held, terms)

    def chooser(stack: Floats, truth: Labels) -> Stack:
        return choose_stack(stack, truth, allowed)

    rule = chooser(found.stack, found.truth)
    if len(rule.members) < 2:
        return None
    matrices = [tuple(tuple(map(float, row)) for row in m) for m in rule.matrices]
    members = tuple((m, models[i]) for m, i in zip(matrices, rule.members, strict=True))
    of = "; ".join(models[i].candidate.label() for i in rule.members)
    candidate = replace(models[rule.members[0]].candidate, method="stack", settings={"of": of})
    parts = Parts("stack", members, bias=tuple(map(float, rule.bias)))
    made = _Made(parts, candidate, rule, f"stack of {len(members)} candidates")
    return _weighed(made, found, chooser, best, terms)


def cascade(found: Evidence, pairs: Sequence[Pair], best: Tried, terms: Terms) -> Tried | None:
    """The cascade of one of the pairs; with a reason where it is not clearly above `best`."""
    models = found.models
    pairs = [p for p in pairs if _has_room([models[p.cheap], models[p.dear]], found.held, terms)]
    # Of several labels a row there is no one that the cheap model is unsure of.
    if not pairs or not found.one_label:
        return None

    def chooser(stack: Floats, truth: Labels) -> Switch:
        return choose_switch(stack, truth, pairs)

    switch = chooser(found.stack, found.truth)
    if switch.trivial:
        return None
    cheap, dear = (models[i] for i in switch.members)
    scales = [1 / t for t in switch.temperatures]
    settings = {
        "first": cheap.candidate.label(),
        "unsure": dear.candidate.label(),
        "threshold": round(switch.threshold, 4),
        "climbing": round(switch.share, 4),
    }
    parts = Parts("cascade", ((scales[0], cheap), (scales[1], dear)), switch.threshold)
    candidate = replace(dear.candidate, method="cascade", settings=settings)
    label = f"cascade, {switch.share:.0%} of the rows climb to {dear.candidate.label()}"
    return _weighed(_Made(parts, candidate, switch, label), found, chooser, best, terms)


@dataclass(frozen=True, slots=True)
class _Made:
    """A candidate made of others, not yet assessed, and how to call it."""

    parts: Parts
    candidate: Candidate
    rule: Rule
    label: str


def _weighed(
    made: _Made, found: Evidence, chooser: Chooser, best: Tried, terms: Terms
) -> Tried | None:
    """What was made as a candidate that was tried, or None where the budget has no export for it.

    It has a reason where it is not clearly better than `best`.
    """
    kind, members = made.parts.kind, made.parts.members
    # The export of one model is set aside from the beginning.
    seconds = _EXPORT_SECONDS * (len(members) - 1)
    if not terms.affords(f"{kind} {made.candidate.key[:16]}", seconds):
        return None
    other = _standing(best, found)
    logits = made.rule.logits(found.stack)
    assessment = found.assess(made.candidate, logits, chooser)
    spent = sum(t.seconds for _, t in members)
    scored = found.scored(logits, Scored(logits, made.rule.logits(found.train_stack), spent))
    tried = Tried(kind, made.candidate, "tried", "", 0.0, scored, assessment, parts=made.parts)
    more, lower = assessment.chance - other.chance, other.log_loss - assessment.log_loss
    # A need that nothing comes near is no reason to run several models.
    near = assessment.chance >= _ALIKE
    if more >= CLEARLY or (near and more >= -_ALIKE and lower >= LOWER):
        terms.emit(said(made.label, tried))
        return tried
    why = (
        f"chance {assessment.chance:.0%} and log-loss {assessment.log_loss:.3f}, not clearly better"
        f" than {other.chance:.0%} and {other.log_loss:.3f}"
    )
    terms.emit(Note(f"{made.label[0].upper()}{made.label[1:]} was not taken: {why}."))
    return replace(tried, why=why)


def _standing(best: Tried, found: Evidence) -> Assessment:
    """What `best` is worth, chosen as it was: what is joined already is assessed so."""
    assert best.assessment is not None
    return found.single() if best is found.models[0] else best.assessment


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
        found[f"frozen {name}" if reads(t) == "activations" else t.candidate.key] = name
    return found


def reads(tried: Tried) -> str:
    """As `tune.api.Method.reads`; nothing for what is made of others."""
    method: Any = None if tried.parts else METHODS.get(tried.candidate.method)
    return method.reads if method else ""


def said(label: str, tried: Tried) -> CandidateTried:
    """A joined candidate as the terminal shows it."""
    found = tried.assessment
    assert found is not None
    return CandidateTried(label, dict(found.scores), found.chance, tried.seconds)

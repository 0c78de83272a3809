"""From the rungs to the best candidate: climb, and search on where the budget allows.

A study belongs to a method, a backbone and the very rows and criteria: its values can be compared
with no other's. What did well elsewhere is only tried first.
"""

import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sartor.core.errors import WorkspaceError
from sartor.core.events import Note, StageDone
from sartor.core.hashing import digest
from sartor.core.types import Candidate
from sartor.search.executing import Crew
from sartor.search.fitting import Bench, part_of
from sartor.search.joining import seeds_of
from sartor.search.ladder import EARLIER, ENOUGH, Assessment, Climb, Climber, Limits, Rung, Scored
from sartor.search.portfolio import given_to, known_to
from sartor.search.pruning import Bar
from sartor.search.reusing import Reusing
from sartor.search.second_look import chosen, quietly, second_look
from sartor.search.setup import Desk, Ready
from sartor.search.space import Space
from sartor.search.study import Study
from sartor.search.trials import PART, Searched, Searcher
from sartor.tune.api import asks
from sartor.tune.fit import Tuner

JOINING_SECONDS = 20.0
"""Kept back from the search for an ensemble: a member more is an export more."""
_OWN = 3
"""Best settings of earlier runs on the same rows that are tried first."""
_ELSEWHERE = 5
"""Newest studies of the same method on other rows; the best of each is tried first."""


@dataclass(frozen=True, slots=True)
class Clock:
    """What may be spent, and when the spending began (`time.monotonic()`)."""

    limits: Limits
    began: float

    @classmethod
    def of(cls, limits: Limits, began: float) -> "Clock":
        """What came before the climb is spent too, of the budget's half: the rest is left to fit.

        Args:
            limits: What may be spent.
            began: `time.monotonic()` when the run began.
        """
        half = max(limits.seconds or 0.0, 0.0) / 2
        return cls(limits, max(began, time.monotonic() - half))

    @property
    def deadline(self) -> float:
        """`time.monotonic()` at which it is spent."""
        return math.inf if self.limits.seconds is None else self.began + self.limits.seconds

    def affords(self, name: str, seconds: float) -> bool:
        """Whether the budget has so many seconds more, for the decision called `name`."""

        def decide() -> bool:
            spent = time.monotonic() - self.began
            return self.limits.seconds is None or spent + seconds <= self.limits.seconds

        return bool(self.limits.replay(f"budget {name}", decide))


@dataclass(frozen=True, slots=True)
class Hands:
    """Who makes what a search asks for.

    Args:
        tuner: Fits candidates.
        reusing: Scores those that are earlier bundles.
        crew: Where the fits are made.
    """

    tuner: Tuner
    reusing: Reusing
    crew: Crew


def climb_and_search(desk: Desk, ready: Ready, hands: Hands, clock: Clock, owner: str) -> Searched:
    """Climb the ladder; where it ends below the need and budget is left, search on.

    Args:
        desk: What the run works with.
        ready: The ladder, and rows by role.
        hands: Who makes what is asked for.
        clock: See `Clock`.
        owner: Of the run's trials.
    """
    tuner, reusing, crew = hands.tuner, hands.reusing, hands.crew
    rows, held = ready.setting.rows, ready.setting.held
    some = part_of(rows.train, PART, desk.need.seed)
    whole = Bench(tuner, rows.train, rows.validation, held.folds)
    part = Bench(tuner, some, rows.validation)

    def fit(
        groups: Sequence[Sequence[Candidate]], share: float, bar: Bar
    ) -> Sequence[Sequence[Scored | Exception]]:
        return crew.fit(replace(part if share < 1 else whole, bar=bar), groups)

    def first(groups: Sequence[Sequence[Candidate]]) -> Sequence[Sequence[Scored | Exception]]:
        if groups[0][0].method == EARLIER:
            return [[reusing.score(candidate) for candidate in group] for group in groups]
        if ready.asking is not None and asks(groups[0][0].method):
            deadline, asking = clock.deadline, ready.asking
            return [[asking.fit(each, rows, deadline) for each in group] for group in groups]
        return crew.fit(whole, groups)

    def assess(candidate: Candidate, scored: Scored) -> Assessment:
        if candidate.method == EARLIER:
            return reusing.assess(candidate, scored)
        return held.assess(candidate, scored)

    again = second_look(desk, ready, whole, crew)
    unsaid = quietly(again)

    def settled(candidate: Candidate, scored: Scored) -> Assessment:
        found = held.assess(candidate, scored)
        # Among many trials one passes by luck: it is looked at again before it ends the search.
        return unsaid(candidate, found) if found.chance >= ENOUGH else found

    climb = Climber(
        fit=first,
        assess=assess,
        limits=clock.limits,
        emit=desk.emit,
        started=clock.began,
        workers=crew.workers,
        again=again,
    ).climb(ready.setting.rungs)
    if climb.best is not None:
        say_climbed(desk, climb)
    searched = Searcher(
        fit=fit,
        assess=settled,
        studies=lambda rung: _study_of(rung, desk, ready, owner),
        limits=_sparing(clock, climb) if desk.need.prefer.ensemble else clock.limits,
        emit=desk.emit,
        rows=len(rows.train),
        started=clock.began,
        workers=crew.workers,
        ruled_out=ready.ruled_out,
    ).search(climb, [rung for rung in ready.setting.rungs if rung.name != EARLIER])
    ended = chosen(searched.climb, again)
    if ended.best is not climb.best:
        say_climbed(desk, ended)
    return replace(searched, climb=ended)


def _sparing(clock: Clock, climb: Climb) -> Limits:
    """What a search may spend so that something is left to join its best candidates with.

    Further seeds of the best candidate are provided for where they take a third of what is left.
    """
    limits = clock.limits
    if limits.seconds is None or climb.best is None:
        return limits
    again = len(seeds_of(climb.tried)) * climb.best.seconds
    wanted = again if clock.affords("seeds", 3 * again) else 0.0
    return replace(limits, seconds=limits.seconds - JOINING_SECONDS - wanted)


def _study_of(
    rung: Rung, desk: Desk, ready: Ready, owner: str
) -> tuple[Study, Sequence[Mapping[str, Any]]] | None:
    """The rung's study and the settings to try first; None where nothing of it can be searched."""
    task, given = desk.need.task, desk.need.prefer.settings
    fixed = given_to(given, rung.name, known_to(rung.name, task))
    space = Space.of(task, rung.name, fixed)
    if not space.dimensions:
        return None
    first, held, rows = rung.candidates[0], ready.setting.held, ready.setting.rows
    criteria = [criterion.text for criterion in held.criteria]
    fingerprints = rows.train.fingerprint(), rows.validation.fingerprint()
    key = digest(
        *(*fingerprints, criteria, held.test_size, first.backbone_sha256, first.seed),
        *([dict(fixed)] if fixed else []),
    )
    folder = desk.place.folder / "studies"
    start = f"{task}-{rung.name}-"
    file = folder / f"{start}{key[:16]}.journal"
    study = _opened(file, space, owner, desk)
    name = f"warm start {rung.name} {first.backbone}"
    wanted = desk.fact(name, lambda: _known(study, folder.glob(f"{start}*.journal"), desk))
    return study, wanted


def _opened(file: Path, space: Space, owner: str, desk: Desk) -> Study:
    """The study; a damaged journal is put aside, since all it held can be found out again."""
    try:
        return Study(file, space, owner, desk.need.seed)
    except WorkspaceError as error:
        if not file.exists():
            raise
        os.replace(file, file.with_suffix(".damaged"))
        desk.emit(Note(f"{error.what} It was put aside; its trials are made again.", "warning"))
        return Study(file, space, owner, desk.need.seed)


def _known(study: Study, files: Any, desk: Desk) -> list[dict[str, Any]]:
    """Settings that did best: of other runs on these rows, then on other rows, newest first."""
    found = _best(study, _OWN)
    others = sorted((f for f in files if f != study.file), key=lambda f: -f.stat().st_mtime)
    for file in others[:_ELSEWHERE]:
        try:
            other = Study(file, study.space, study.owner, desk.need.seed)
        except WorkspaceError:  # a damaged journal of another need is that need's affair
            continue
        found += _best(other, 1)
    return [settings for i, settings in enumerate(found) if settings not in found[:i]]


def _best(study: Study, count: int) -> list[dict[str, Any]]:
    done = [p for p in study.trials() if p.value is not None and p.owner != study.owner]
    return [dict(p.settings) for p in sorted(done, key=lambda p: p.value or 0.0)[:count]]


def say_climbed(desk: Desk, climb: Climb) -> None:
    """How the climb ended."""
    best = climb.best
    assert best is not None
    assert best.assessment is not None
    chance = f"chance of meeting the need on the test set {best.assessment.chance:.0%}"
    short = climb.unfinished()
    missed = "not reached within the budget" if short else "the ladder ends here"
    end = f"{chance}, stopping here" if climb.reached else f"{chance}; {missed}"
    if best.earlier and all(t.earlier for t in climb.tried):
        end += ", nothing is trained"
    tried = sum(t.state == "tried" for t in climb.tried)
    desk.emit(StageDone("climb", f"{tried} candidates · {best.candidate.label()} · {end}"))

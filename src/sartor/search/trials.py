"""Beyond the portfolio: trials on the most promising rungs, until it is enough or the budget ends.

A trial is worth more than the next where its chance of meeting the need is a fifth higher, and
among equals where its log-loss is lower: the order by which the best candidate is chosen, as one
number for the study to minimise. Where a fit takes long, it is tried on a third of the rows first
and goes on only among the best third of those (successive halving). A fit that evaluates on its way
ends where most earlier trials did better by then (see `pruning`). A rung is left where its trials
gain nothing that validation rows can tell (see `stopping`).

What depends on the clock (which rung is next, when to stop) is decided once a run and replayed;
what was asked stands in the journal. So a run that was killed ends like one that was not.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sartor.core.events import CandidateTried, Emit, Note, StageDone, StageProgress
from sartor.core.types import Candidate
from sartor.search.fronts import Front, Importance, chance_of, notes_of, traced, value_of
from sartor.search.ladder import (
    ENOUGH,
    Assessment,
    Climb,
    Limits,
    Rung,
    Scored,
    Tried,
    best_of,
    cut_by_budget,
    judged,
    reason,
)
from sartor.search.pruning import NO_BAR, Bar, curve_of
from sartor.search.stopping import gains, why_stopped
from sartor.search.study import Past, Study

PART = 1 / 3
"""Share of the training rows that a long fit is tried on first."""
_REDRAWN = 8
"""Draws that cannot meet the need, one after the other, before one is fitted all the same."""
_LONG_SECONDS = 20.0
_LEAST_ROWS = 300
"""A third of fewer rows says little of all of them."""


@dataclass(frozen=True, slots=True)
class Searched:
    """How a search ended.

    Args:
        climb: With the trials among what was tried.
        why: Why it ended, in words; "" where it never began.
        importances: One a rung that was searched.
    """

    climb: Climb
    why: str = ""
    importances: tuple[Importance, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """What `result.json` holds of it; the candidates stand there by themselves."""
        found = [{**asdict(each), "shares": dict(each.shares)} for each in self.importances]
        return {"why": self.why, "importances": found, "by": "PED-ANOVA"}


@dataclass(slots=True)
class Searcher:
    """Asks, fits, tells.

    Args:
        fit: Groups of candidates of one method on a share of the training rows, with what may end
            them on the way.
        assess: On validation rows only.
        studies: A rung to its study, and the settings to try first; None where nothing of it can
            be searched.
        limits: See `Limits`; without a bound in time nothing is searched.
        emit: Progress.
        rows: Training rows there are.
        started: When the budget began to run.
        workers: Groups that are fitted at once; so many times the trials are asked for together,
            and told in their order when the last has come.
        ruled_out: Why a candidate cannot meet the need whatever it learns, or "".
    """

    fit: Callable[
        [Sequence[Sequence[Candidate]], float, Bar], Sequence[Sequence[Scored | Exception]]
    ]
    assess: Callable[[Candidate, Scored], Assessment]
    studies: Callable[[Rung], tuple[Study, Sequence[Mapping[str, Any]]] | None]
    limits: Limits
    emit: Emit
    rows: int
    started: float = field(default_factory=time.monotonic)
    workers: int = 1
    ruled_out: Callable[[Candidate], str] = lambda _: ""

    def search(self, climb: Climb, rungs: Sequence[Rung]) -> Searched:
        """Go on where the ladder ended below the need and there is time left."""
        if climb.reached or self.limits.seconds is None:
            return Searched(climb)
        fronts = {front.name: front for front in self._fronts(climb, rungs)}
        if not fronts:
            return Searched(climb)
        tried, steps = list(climb.tried), 0
        while True:
            found = self.limits.replay(
                f"search {steps}", lambda: self._decide(list(fronts.values()))
            )
            if found["why"]:
                break
            tried += self._step(fronts[found["rung"]], found, best_of(tried))
            steps += 1
            if (best := best_of(tried)) and chance_of(best) >= ENOUGH:
                found = {"why": "enough"}
                break
        best = best_of(tried)
        reached = best is not None and chance_of(best) >= ENOUGH
        asked = f"{sum(front.asked for front in fronts.values())} trials · "
        self.emit(StageDone("search", asked + ("" if reached else "stopped: ") + found["why"]))
        return Searched(
            Climb(tuple(tried), best, reached),
            found["why"],
            tuple(front.importance() for front in fronts.values() if front.asked),
        )

    def _fronts(self, climb: Climb, rungs: Sequence[Rung]) -> list[Front]:
        """The rungs of which something was fitted and something can be searched."""
        fronts: list[Front] = []
        for rung in rungs:
            keys = {candidate.key for candidate in rung.candidates}
            tried = [t for t in climb.tried if t.candidate.key in keys and t.state != "skipped"]
            best = best_of(tried)
            opened = self.studies(rung) if best is not None else None
            if best is None or best.assessment is None or opened is None:
                continue
            study, wanted = opened
            if stopped := study.recover():
                self.emit(Note(f"{stopped} trials of {rung.name} were stopped; they are redone."))
            for each in tried:
                value = None if each.assessment is None else value_of(each.assessment)
                study.add(
                    each.candidate.settings,
                    value,
                    {**notes_of(each), "portfolio": True},
                    traced(each),
                )
            aside = ("portfolio", "refused")
            before = [p for p in study.mine() if not any(p.notes.get(name) for name in aside)]
            base = best.candidate.settings
            fronts.append(Front(rung, study, wanted, base, before, tried, best.assessment))
        return fronts

    def _decide(self, fronts: Sequence[Front]) -> dict[str, Any]:
        """Which rung is next, how many trials of it, and whether on part of the rows first."""
        patient = [front for front in fronts if front.misses < self.limits.patience]
        if not patient:
            return {"why": why_stopped(self.limits.patience, len(fronts))}
        assert self.limits.seconds is not None
        left = self.limits.seconds - (time.monotonic() - self.started)
        for front in sorted(patient, key=Front.promise):
            each = front.each
            seconds = front.seconds() * each
            if seconds <= left:
                long = seconds >= _LONG_SECONDS and self.rows >= _LEAST_ROWS
                halved = long and not front.rung.together
                count = each * self.workers
                return {"why": "", "rung": front.name, "count": count, "halved": halved}
        return {"why": f"the budget ends here, {max(left, 0):,.0f} s before its end"}

    def _step(self, front: Front, how: Mapping[str, Any], best: Tried | None) -> list[Tried]:
        began = time.monotonic()
        asked: list[tuple[int, Candidate]] = []
        again: list[Past] = []
        for _ in range(how["count"]):
            if front.before:
                again.append(front.before.pop(0))
            else:
                asked.append(self._asked(front))
        front.asked += how["count"]
        found = [self._replayed(front, past) for past in again]
        if asked:
            found += self._done(front, asked, halved=bool(how["halved"]))
        front.tried += found
        self._say(front, found, best, time.monotonic() - began)
        return found

    def _done(
        self, front: Front, asked: Sequence[tuple[int, Candidate]], *, halved: bool
    ) -> list[Tried]:
        """What came of the trials. They are told in the order in which they were asked for: what a
        kill leaves in the journal is then the beginning of what would have stood there."""
        began = time.monotonic()
        ended: dict[int, Scored | Exception | None] = {}
        if halved:
            parts = self._fitted(front, [candidate for _, candidate in asked], PART)
            for (number, candidate), left in zip(asked, parts, strict=True):
                part, found = judged(self.assess, candidate, left)
                if found is None:
                    ended[number] = part
                elif not front.study.report(number, value_of(found)):
                    ended[number] = None
        going = [(number, candidate) for number, candidate in asked if number not in ended]
        results = self._fitted(front, [candidate for _, candidate in going], 1.0)
        ended |= {number: result for (number, _), result in zip(going, results, strict=True)}
        seconds = (time.monotonic() - began) / len(asked)
        return [
            self._told(front, number, candidate, ended[number], seconds)
            for number, candidate in asked
        ]

    def _fitted(
        self, front: Front, candidates: Sequence[Candidate], share: float
    ) -> list[Scored | Exception]:
        """One a candidate, in order."""
        if not candidates:
            return []
        each = front.each
        groups = [candidates[i : i + each] for i in range(0, len(candidates), each)]
        bar = NO_BAR if share < 1 else front.study.bar()
        return [result for group in self.fit(groups, share, bar) for result in group]

    def _asked(self, front: Front) -> tuple[int, Candidate]:
        """A trial that could meet the need; one that could not is told so, and another is asked."""
        for _ in range(_REDRAWN):
            trial = front.study.ask(front.wanted)
            candidate = self._candidate(front, trial.settings)
            if not (why := self.ruled_out(candidate)):
                return trial.number, candidate
            front.study.refuse(trial.number, why)
        # Hardly anything of the space can: one is fitted, and patience ends it.
        trial = front.study.ask(front.wanted)
        return trial.number, self._candidate(front, trial.settings)

    def _candidate(self, front: Front, settings: Mapping[str, Any]) -> Candidate:
        first = front.rung.candidates[0]
        return Candidate(
            first.backbone,
            first.backbone_sha256,
            first.method,
            {**front.base, **settings},
            first.seed,
        )

    def _told(
        self,
        front: Front,
        number: int,
        candidate: Candidate,
        result: Scored | Exception | None,
        seconds: float,
    ) -> Tried:
        if result is None:
            why = f"not among the best third on {PART:.0%} of the rows"
            front.study.prune(number, why)
            return Tried(front.rung.name, candidate, "pruned", why, seconds, trial=number)
        if isinstance(result, Scored) and result.pruned:
            curve = curve_of(result.history)
            why = f"worse than most after {curve[-1][0]:.0%} of its training"
            front.study.prune(number, why, curve)
            return Tried(front.rung.name, candidate, "pruned", why, seconds, trial=number)
        found = self._tried(front, candidate, result, seconds, number)
        if found.assessment is None:
            self.emit(Note(f"{candidate.label()} failed: {found.why}", "warning"))
            front.study.fail(number, found.why)
        else:
            front.study.tell(number, value_of(found.assessment), notes_of(found), traced(found))
        return found

    def _tried(
        self,
        front: Front,
        candidate: Candidate,
        left: Scored | Exception,
        seconds: float,
        number: int,
    ) -> Tried:
        name = front.rung.name
        result, assessment = judged(self.assess, candidate, left)
        if isinstance(result, Exception):
            return Tried(name, candidate, "failed", reason(result), seconds, trial=number)
        spent = max(seconds, result.seconds)
        why = cut_by_budget(result)
        return Tried(name, candidate, "tried", why, spent, result, assessment, trial=number)

    def _replayed(self, front: Front, past: Past) -> Tried:
        """A trial that ended before this run was killed: its fit is found again."""
        candidate = self._candidate(front, past.settings)
        why = str(past.notes.get("why", ""))
        if past.state == "done":
            (result,) = self._fitted(front, [candidate], 1.0)
            return self._tried(front, candidate, result, 0.0, past.number)
        state = "pruned" if past.state == "pruned" else "failed"
        return Tried(front.rung.name, candidate, state, why, trial=past.number)

    def _say(
        self, front: Front, found: Sequence[Tried], best: Tried | None, seconds: float
    ) -> None:
        """A line where there is a new best; else only that it goes on."""
        front.misses += len(found)
        if gains(top := front.top(), front.mark):
            front.misses, front.mark = 0, top
        now = best_of([*([best] if best else []), *found])
        if now is not None and now.assessment is not None and any(now is t for t in found):
            scores = dict(now.assessment.scores)
            self.emit(CandidateTried(now.candidate.label(), scores, chance_of(now), seconds))
        self.emit(StageProgress("search", front.asked, 0, front.name))

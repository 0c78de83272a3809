"""The ladder: candidates by cost; climb until the need is likely met, and no further.

Stops when the chance of "met" on the test rows, from the validation posterior, is at least 80 %, or
when the budget ends; then the best candidate is the one with the best chance, and among equals the
one with the lower log-loss. A candidate that fails is recorded, explained and stepped over.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sartor.core.errors import DataError, Diverged
from sartor.core.events import CandidateTried, Emit, Note
from sartor.core.protocols import Floats
from sartor.core.types import Candidate
from sartor.search.estimates import Estimate

EARLIER = "earlier"
"""The rung of a user's earlier bundles, which nothing is fitted for."""
ENOUGH = 0.8
"""Chance of "met" on the test rows at which climbing stops."""


@dataclass(frozen=True, slots=True)
class Rung:
    """Candidates of one method on one backbone, in the order to try them.

    Args:
        name: Method.
        candidates: Portfolio, best guess first.
        together: Whether all are tried before the chance is looked at (they share their work).
        estimate: Of one candidate, or of all when `together`.
        stops: Whether the climb may end with it; where not, it wins only if nothing else is enough.
    """

    name: str
    candidates: tuple[Candidate, ...]
    together: bool
    estimate: Estimate
    stops: bool = True


@dataclass(frozen=True, slots=True)
class Scored:
    """What a fit says of the rows; the folder with the model is asked for once, by the winner.

    Args:
        validation_logits: (validation rows, outputs), before any decision rule.
        train_logits: (training rows, outputs); rows that were not scored are NaN.
        seconds: Wall time of the fit.
        history: One mapping an evaluation; empty for closed forms.
        cut: Steps after which the fit was cut; None if it is whole.
        pruned: Whether it was the search that cut it, since earlier trials did better by then.
        folds: (training rows, outputs), each row by a fit that did not see it; None where
            validation rows are enough (see `folds`).
        encoding: Of `seconds`, those in which texts were encoded that no later fit encodes again.
    """

    validation_logits: Floats
    train_logits: Floats
    seconds: float
    history: Sequence[Mapping[str, float]] = ()
    cut: int | None = None
    folds: Floats | None = None
    pruned: bool = False
    encoding: float = 0.0


@dataclass(frozen=True, slots=True)
class Assessment:
    """What validation rows say of a fitted candidate.

    Args:
        decision: JSON of `Task.settle`.
        scores: Criterion's text to validation value.
        chance: That all criteria are met on the test rows.
        log_loss: On validation rows, after calibration.
        losses: (rows,) of which that is the mean; None where they are not known.
        by_folds: Whether the chance is of the training rows as well: see `second_look`.
    """

    decision: Mapping[str, Any]
    scores: Mapping[str, float]
    chance: float
    log_loss: float
    losses: NDArray[np.float64] | None = field(default=None, compare=False, repr=False)
    by_folds: bool = False


Again = Callable[[Candidate, Assessment], Assessment]
"""What is said of a candidate when it is looked at once more; the same where there is no need."""


def once(_: Candidate, found: Assessment) -> Assessment:
    """An `Again` that leaves it at the first look."""
    return found


Factor = float | tuple[tuple[float, ...], ...]
"""A number, or a matrix (classes, classes), output by input."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a candidate that was made of others is made of.

    Args:
        kind: "soup" averages weights, "ensemble" adds logits, "stack" adds them after a matrix
            each, "cascade" asks the second member where the first is unsure.
        members: (factor, candidate) of each: of a soup whether it was kept, 1 or 0, in the order
            they were offered; of the others what its logits are multiplied with.
        threshold: Of a cascade: the first member's probability below which the second answers.
        bias: Of a stack, one a class.
    """

    kind: Literal["soup", "ensemble", "stack", "cascade"]
    members: "tuple[tuple[Factor, Tried], ...]"
    threshold: float = 0.0
    bias: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Tried:
    """One line of the ladder as it was climbed.

    `trial` is its number in a study, if it is one; `parts` what it is made of, if it was joined.
    """

    rung: str
    candidate: Candidate
    state: Literal["tried", "failed", "skipped", "pruned"]
    why: str = ""
    seconds: float = 0.0
    scored: Scored | None = None
    assessment: Assessment | None = None
    trial: int | None = None
    parts: Parts | None = None

    @property
    def cut(self) -> bool:
        """Whether the budget ended its fit."""
        return self.scored is not None and self.scored.cut is not None

    @property
    def earlier(self) -> bool:
        """Whether it is a bundle that was there before."""
        return self.candidate.method == EARLIER


@dataclass(frozen=True, slots=True)
class Climb:
    """The ladder as climbed; `best` is None when nothing could be fitted."""

    tried: tuple[Tried, ...]
    best: Tried | None
    reached: bool

    def unfinished(self) -> set[str]:
        """Rungs of which the budget skipped or cut a candidate."""
        return {t.rung for t in self.tried if t.state == "skipped" or t.cut}


NOTHING_TRIED = Climb((), None, False)
"""Where there is no ladder."""


def nothing_fitted(climb: Climb) -> DataError:
    """That a climb found nothing, and why each rung did not."""
    reasons = dict.fromkeys(f"{t.rung} {t.state}: {t.why}" for t in climb.tried)
    return DataError(
        f"No candidate could be fitted: {'; '.join(reasons)}.",
        fix="raise the budget, or name other methods under prefer.methods.",
    )


@dataclass(frozen=True, slots=True)
class Limits:
    """What a climb may spend.

    Args:
        seconds: Wall time, None for no bound.
        memory_mb: Peak memory, None for no bound.
        replay: Records a decision that depends on the clock once, and returns it on resume.
        patience: Trials of a rung without a gain after which a search leaves it.
    """

    seconds: float | None
    memory_mb: float | None
    replay: Callable[[str, Callable[[], Any]], Any]
    patience: int = 10


Fit = Callable[[Sequence[Sequence[Candidate]]], Sequence[Sequence[Scored | Exception]]]
"""Groups of candidates to what each candidate left, group by group."""


@dataclass(slots=True)
class Climber:
    """Fits and assesses rung after rung.

    Args:
        fit: Groups of candidates, each whole; for each group what its candidates left, or the
            errors they met.
        assess: On validation rows only.
        limits: See `Limits`.
        emit: Progress.
        started: When the budget began to run.
        workers: Groups of one rung that are fitted at once. What comes after the one that is
            enough is passed over, so their number does not decide the outcome.
        again: A second look at the best of a group.
    """

    fit: Fit
    assess: Callable[[Candidate, Scored], Assessment]
    limits: Limits
    emit: Emit
    started: float = field(default_factory=time.monotonic)
    workers: int = 1
    again: Again = once

    def climb(self, rungs: Sequence[Rung]) -> Climb:
        """Try the rungs in order until one is good enough."""
        tried: list[Tried] = []
        stoppers: list[Tried] = []
        for rung in rungs:
            spent = 0.0
            groups = [rung.candidates] if rung.together else [(c,) for c in rung.candidates]
            for start in range(0, len(groups), self.workers):
                some = groups[start : start + self.workers]
                going, why = self._affordable(rung, some, spent)
                began = time.monotonic()
                results = self.fit(going) if going else []
                spent = time.monotonic() - began
                each = spent / max(sum(map(len, going)), 1)
                for group, found in zip(going, results, strict=True):
                    made = self._assessed(rung, group, found, each)
                    tried += made
                    stoppers += made if rung.stops else []
                    if is_enough(best := best_of(stoppers)):
                        return Climb(tuple(tried), best, True)
                if why:
                    tried.append(Tried(rung.name, some[len(going)][0], "skipped", why))
                    self.emit(Note(f"{rung.name} skipped: {why}"))
                    break
        best = best_of(tried)
        return Climb(tuple(tried), best, is_enough(best))

    def _affordable(
        self, rung: Rung, groups: Sequence[Sequence[Candidate]], spent: float
    ) -> tuple[list[Sequence[Candidate]], str]:
        """The groups before the first that does not fit the budget, and why that one does not."""
        for i, group in enumerate(groups):
            if why := self._too_dear(rung, group, spent):
                return list(groups[:i]), why
        return list(groups), ""

    def _assessed(
        self,
        rung: Rung,
        group: Sequence[Candidate],
        results: Sequence[Scored | Exception],
        seconds: float,
    ) -> list[Tried]:
        began = time.monotonic()
        found: list[Tried] = []
        for candidate, left in zip(group, results, strict=True):
            result, assessment = judged(self.assess, candidate, left)
            if isinstance(result, Exception):
                found.append(Tried(rung.name, candidate, "failed", reason(result), seconds))
                self.emit(Note(f"{candidate.label()} failed: {reason(result)}", "warning"))
                continue
            spent = max(seconds, result.seconds)
            why = cut_by_budget(result)
            found.append(Tried(rung.name, candidate, "tried", why, spent, result, assessment))
        found = self._looked_at(found)
        if best := best_of(found):
            assert best.assessment is not None
            self.emit(
                CandidateTried(
                    best.candidate.label(),
                    dict(best.assessment.scores),
                    best.assessment.chance,
                    seconds * len(group) + time.monotonic() - began,
                    best.why,
                )
            )
        return found

    def _looked_at(self, found: list[Tried]) -> list[Tried]:
        """The best looked at again; where it then is no longer, the next that would be enough."""
        while True:
            best = luckiest(found)
            if best is None or best.assessment is None:
                return found
            again = self.again(best.candidate, best.assessment)
            if again is best.assessment:
                return found
            found = [replace(t, assessment=again) if t is best else t for t in found]
            if not is_enough(luckiest(found)):
                return found

    def _too_dear(self, rung: Rung, group: Sequence[Candidate], spent: float) -> str:
        """Why the group does not fit the budget, or nothing; decided once a run.

        Args:
            rung: Gives the estimate.
            group: About to be fitted.
            spent: Seconds that the group before it on this rung took, which is better known.
        """

        def decide() -> str:
            memory = rung.estimate.memory_mb.low
            if self.limits.memory_mb is not None and memory > self.limits.memory_mb:
                return f"needs at least {memory:,.0f} MB of {self.limits.memory_mb:,.0f}"
            if self.limits.seconds is None:
                return ""
            left = self.limits.seconds - (time.monotonic() - self.started)
            needed = max(rung.estimate.seconds.low, spent)
            if needed <= left:
                return ""
            return f"needs at least {needed:,.0f} s, {max(left, 0):,.0f} s of the budget are left"

        return str(self.limits.replay(f"budget {group[0].key[:16]}", decide))


def is_enough(tried: Tried | None) -> bool:
    """Whether a climb may end with it."""
    found = tried.assessment if tried else None
    return found is not None and found.chance >= ENOUGH


def cut_by_budget(result: Scored) -> str:
    """That the budget ended the fit, in words; "" where it is whole."""
    return "" if result.cut is None else f"cut by the budget after {result.cut:,} steps"


def judged(
    assess: Callable[[Candidate, Scored], Assessment],
    candidate: Candidate,
    left: Scored | Exception,
) -> tuple[Scored | Exception, Assessment | None]:
    """What a candidate left, and its assessment; an error where its answers are no numbers.

    Args:
        assess: See `Climber`.
        candidate: That was fitted.
        left: By its fit.
    """
    if isinstance(left, Exception):
        return left, None
    try:
        return left, assess(candidate, left)
    except Diverged as error:  # at its very end: no step came after it that would have met it
        return error, None


def reason(error: Exception) -> str:
    """Why a candidate failed, in the error's own words."""
    return getattr(error, "what", "") or str(error) or type(error).__name__


def likely(chance: float) -> int:
    """A chance in steps of a fifth; within one, log-loss tells better which is the better one.

    What a few hundred validation rows make of a chance goes up and down by more than that from one
    draw of them to the next.
    """
    return round(chance * 5)


def best_of(tried: Sequence[Tried]) -> Tried | None:
    """The candidate with the best chance; None where none was assessed.

    Of a method that was looked at again, what was not does not count: on validation rows alone it
    seems better than what is known of the others.
    """
    sure = {t.candidate.method for t in tried if _looked_at_again(t)}
    return luckiest([t for t in tried if t.candidate.method not in sure or _looked_at_again(t)])


def luckiest(tried: Sequence[Tried]) -> Tried | None:
    """The same by what is known of each, if only by validation rows."""
    ready = [t for t in tried if t.assessment is not None]

    def rank(t: Tried) -> tuple[bool, float, float]:
        assert t.assessment is not None
        # Log-loss does not decide against one that is enough, at which the climb stops.
        chance = t.assessment.chance
        return chance >= ENOUGH, likely(chance), -t.assessment.log_loss

    return max(ready, key=rank, default=None)


def _looked_at_again(tried: Tried) -> bool:
    return tried.assessment is not None and tried.assessment.by_folds

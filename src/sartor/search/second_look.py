"""A second look: what the training rows say of a head whose chance is too near to decide by.

A few hundred validation rows leave a chance uncertain, and the best of a dozen settings looks a
little better on them than it is. Each training row can be answered by a head that was fitted
without it (see `folds`): on cached activations that takes seconds, where the next rung takes
minutes, and the chance is then of several times as many rows. So is the decision rule, with which
it ships: a chance is of a rule, and more rows tell a better one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from sartor.core.events import Emit, Note, silent
from sartor.core.types import Candidate
from sartor.search.assess import Held
from sartor.search.executing import Crew
from sartor.search.fitting import Bench
from sartor.search.folds import Folds, deal
from sartor.search.ladder import (
    EARLIER,
    Again,
    Assessment,
    Climb,
    Scored,
    best_of,
    is_enough,
    luckiest,
    once,
)
from sartor.search.recommending import reads_histories
from sartor.search.setup import Desk, Ready
from sartor.search.suiting import by_piece, locates
from sartor.tune.api import METHODS

NEAR = (0.1, 0.95)
"""Chances between which more rows may turn the decision to climb on, or what is chosen at last."""
_LOOKS = 5
"""Candidates that are looked at again before one is chosen, at most."""
_MOST_ROWS = 20_000
"""Training rows beyond which there are validation rows enough."""
_MOST_WORK = 200_000
"""Training rows times outputs up to which five heads are a matter of seconds."""

Fit = Callable[[Bench, Sequence[Sequence[Candidate]]], Sequence[Sequence[Scored | Exception]]]
"""See `Crew.fit`."""


@dataclass(frozen=True, slots=True)
class SecondLook:
    """Judges a head by the training rows as well.

    Args:
        bench: Rows, and who fits on them.
        held: How candidates are assessed.
        fit: Fits groups of candidates.
        emit: Told what came of it.
        dealt: The training rows by fold; None where they cannot be dealt.
    """

    bench: Bench
    held: Held
    fit: Fit
    emit: Emit
    dealt: Callable[[], Folds | None] = field(repr=False)

    def __call__(self, candidate: Candidate, found: Assessment) -> Assessment:
        """The assessment with a chance and a rule that more rows stand behind, whichever way it
        turns out; the same where that would decide nothing, or take long.

        Args:
            candidate: That was assessed.
            found: What validation rows say of it.
        """
        if found.by_folds or not NEAR[0] <= found.chance < NEAR[1] or not self._suits(candidate):
            return found
        if (folds := self.dealt()) is None:
            return found
        ((scored,),) = self.fit(replace(self.bench, folds=folds), [[candidate]])
        if isinstance(scored, Exception) or scored.folds is None:
            return found
        wider = replace(self.held, folds=folds).assess(candidate, scored)
        self.emit(
            Note(
                f"{candidate.label()}: chance of meeting the need {found.chance:.0%} by"
                f" {len(self.bench.validation):,} validation rows, {wider.chance:.0%} with the"
                f" {len(folds.train):,} training rows, each answered by a fit that did not see it."
            )
        )
        ruled = replace(self.held, decision=wider.decision)
        scores = ruled.assess(candidate, replace(scored, folds=None)).scores
        # The loss stays: it orders candidates, and few of them are looked at twice.
        return replace(
            found, decision=wider.decision, scores=scores, chance=wider.chance, by_folds=True
        )

    def _suits(self, candidate: Candidate) -> bool:
        if candidate.method == EARLIER:
            return False
        method: Any = METHODS.get(candidate.method)
        return method.reads == "activations"


def chosen(climb: Climb, again: Again) -> Climb:
    """The climb, its best looked at again, and where that then is another one, that as well.

    Args:
        climb: As it ended.
        again: A second look.
    """
    tried = climb.tried
    for _ in range(0 if climb.reached else _LOOKS):
        best = luckiest(tried)
        if best is None or best.assessment is None:
            break
        found = again(best.candidate, best.assessment)
        if found is best.assessment:
            break
        tried = tuple(replace(t, assessment=found) if t is best else t for t in tried)
    if tried is climb.tried:
        return climb
    best = best_of(tried)
    return Climb(tried, best, is_enough(best))


def quietly(again: Again) -> Again:
    """The same look, of which nothing is said: a search takes many."""
    return replace(again, emit=silent) if isinstance(again, SecondLook) else again


def second_look(desk: Desk, ready: Ready, bench: Bench, crew: Crew) -> Again:
    """The second look of a run.

    Args:
        desk: What the run works with.
        ready: Rows by role.
        bench: Rows, and who fits on them.
        crew: Where fits are made.
    """
    held, task, train = ready.setting.held, desk.need.task, ready.setting.rows.train
    many = len(train) > _MOST_ROWS or len(train) * len(held.outputs) > _MOST_WORK
    # Where rows are few all heads are judged by folds anyway. Of moments folds would learn from
    # later ones, and of pieces of texts five heads take as long as the rung above.
    if held.folds or many or reads_histories(task) or locates(task) or by_piece(task):
        return once

    @cache
    def dealt() -> Folds | None:
        return deal(train, desk.need.data.group or "")

    return SecondLook(bench, held, crew.fit, desk.emit, dealt)

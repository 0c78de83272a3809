"""A rung that is searched: its study, what came of it, what one more trial takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from sartor.search.ladder import Assessment, Rung, Tried, likely, luckiest
from sartor.search.pruning import Curve, curve_of
from sartor.search.study import Past, Study

_TOGETHER = 4
"""Heads asked for at a time: they share the reading of their features."""


@dataclass(frozen=True, slots=True)
class Importance:
    """What a study says of its settings.

    Args:
        rung: Method.
        backbone: Its name.
        trials: That ended well.
        shares: Setting to its share of what decides, 0 to 1; empty with too few trials.
    """

    rung: str
    backbone: str
    trials: int
    shares: Mapping[str, float]


@dataclass(slots=True)
class Front:
    """A rung that is searched: its study, and what came of it so far."""

    rung: Rung
    study: Study
    wanted: Sequence[Mapping[str, Any]]
    base: Mapping[str, Any]
    before: list[Past]
    """Trials of this run that ended before it was killed, to be gone through again."""
    tried: list[Tried]
    mark: Assessment
    """Of the best one at the last gain."""
    misses: int = 0
    asked: int = 0

    @property
    def name(self) -> str:
        return f"{self.rung.name}, {self.rung.candidates[0].backbone}"

    def seconds(self) -> float:
        """What one more trial takes: as long as those of the search did, in the middle; before
        there are any, as the dearest one of the ladder less what was encoded for it, since no
        later one encodes that again."""
        trials = [t.seconds for t in self.tried if t.trial is not None and t.state == "tried"]
        if trials:
            return median(trials)
        first = (t.seconds - (t.scored.encoding if t.scored else 0.0) for t in self.tried)
        return max(max(first, default=self.rung.estimate.seconds.low), 0.0)

    @property
    def each(self) -> int:
        """Candidates of a group."""
        return _TOGETHER if self.rung.together else 1

    def top(self) -> Assessment:
        """Of the best so far."""
        best = luckiest(self.tried)
        assert best is not None
        assert best.assessment is not None
        return best.assessment

    def promise(self) -> tuple[float, str]:
        """What rungs are searched in the order of."""
        return value_of(self.top()), self.name

    def importance(self) -> Importance:
        """What its study says of the settings."""
        done = sum(past.state == "done" for past in self.study.trials())
        backbone = self.rung.candidates[0].backbone
        return Importance(self.rung.name, backbone, done, self.study.importances())


def value_of(assessment: Assessment) -> float:
    """What a study minimises: orders candidates as `best_of` does."""
    loss = assessment.log_loss
    return -likely(assessment.chance) + loss / (1 + loss)


def notes_of(tried: Tried) -> dict[str, Any]:
    """What a study keeps beside the value, or why there is none."""
    found = tried.assessment
    if found is None:
        return {"why": tried.why}
    return {
        "scores": dict(found.scores),
        "chance": found.chance,
        "log_loss": found.log_loss,
        "seconds": tried.seconds,
    }


def traced(tried: Tried) -> Curve:
    """Its losses on the way; empty where the budget cut it: shares of its training were not those
    of a whole fit."""
    return () if tried.scored is None or tried.cut else curve_of(tried.scored.history)


def chance_of(tried: Tried) -> float:
    """Of meeting the need; 0 where nothing could be assessed."""
    return 0.0 if tried.assessment is None else tried.assessment.chance

"""One form of a fitted model, and which of several is kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import log
from typing import Any

from sartor.bundle import Bundle
from sartor.need.criterion import Criterion
from sartor.need.verdict import Verdict
from sartor.search.chains import beyond
from sartor.search.ladder import ENOUGH
from sartor.shrink.parity import Parity

_ROOM = 0.1
"""Chance of "met" an artefact may cost; simulated chances differ by that much anyhow."""
_FARTHEST = 1e6


@dataclass(frozen=True, slots=True)
class Artefact:
    """One form of the fitted model, measured on validation rows.

    Args:
        name: "onnx", the compressor that made it, or "prompt".
        bundle: Unreleased, in the workspace.
        parity: Against the fitted model.
        size_mb: All files of the bundle, MB of 1,000,000 bytes.
        verdicts: Of the criteria on the artefact itself (size, and latency where it was timed).
        chance: That all criteria are met on the test rows, size and latency as measured.
        scores: Criterion's text to validation value; that of a speed only where it was timed.
        answers: On the validation rows.
        trained: Whether a compressor trained it: it is a model of its own then.
        why: Why it was not kept; empty for the one that was.
        untried: Compressors that no time was left for.
        failed: Forms that could not be made or run, and why.
    """

    name: str
    bundle: Bundle
    parity: Parity
    size_mb: float
    verdicts: tuple[Verdict, ...]
    chance: float
    scores: Mapping[str, float]
    answers: tuple[Mapping[str, Any], ...]
    trained: bool = False
    why: str = ""
    untried: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def holds_parity(self) -> bool:
        return self.parity.holds


def short(size: float) -> str:
    """A size in words."""
    return f"{size:.0f}" if size >= 10 else f"{size:.2g}"


def holds(artefact: Artefact, best: float) -> bool:
    """Whether it may ship, next to the best chance that there is."""
    unmet = any(v.state == "unmet" for v in artefact.verdicts)
    return artefact.parity.holds and not unmet and artefact.chance >= least(best)


def may_meet(artefact: Artefact) -> bool:
    """Whether it may meet the need, as the fitted model in another form or as one of its own."""
    met = artefact.chance > 0 and not any(v.state == "unmet" for v in artefact.verdicts)
    return met and (artefact.parity.holds or artefact.trained)


def instead(artefact: Artefact) -> str:
    """That it goes before forms that answer like the fitted model, in words."""
    return (
        "No form that answers like the fitted model is small and fast enough for the need."
        f" {artefact.name} was trained, is, and is judged by itself: {artefact.parity.sentence()}."
    )


def least(best: float) -> float:
    """Chance that will do; one that is enough is not given up for a cheaper one that is not."""
    return max(best - _ROOM, ENOUGH) if best >= ENOUGH else best - _ROOM


def failures(artefact: Artefact, criteria: Sequence[Criterion]) -> tuple[bool, int, int, float]:
    """What speaks against it, less is better: parity that does not hold, criteria that are unmet,
    how far the worst of them is from its threshold, in steps of a tenth, and size."""
    asked = {criterion.text: criterion for criterion in criteria}
    unmet = [verdict for verdict in artefact.verdicts if verdict.state == "unmet"]
    far = [beyond(asked[v.criterion], v.value) for v in unmet if v.criterion in asked]
    steps = round(log(min(max(far, default=1.0), _FARTHEST)) / log(1.1))
    return not artefact.parity.holds, len(unmet), steps, artefact.size_mb


def left_out(late: Sequence[str], failed: Mapping[str, str]) -> list[str]:
    """Which forms are not among those that were made, in words.

    Args:
        late: Compressors that no time was left for.
        failed: Form to what it failed with.
    """
    told = [f"{name} failed, and is left out: {why.rstrip('.')}." for name, why in failed.items()]
    if late:
        names = ", ".join(late)
        told.append(f"The budget was spent before these were tried, or to their end: {names}.")
    return told


def refused(artefact: Artefact, kept: Artefact) -> Artefact:
    """The same, with why it was not kept."""
    failed = next((v for v in artefact.verdicts if v.state == "unmet"), None)
    if not artefact.parity.holds:
        why = f"parity: {artefact.parity.sentence()}"
    elif failed is not None:
        why = f"{failed.criterion} is unmet: {failed.value:.4g}"
    elif artefact.chance < least(kept.chance) or not kept.parity.holds:
        why = f"chance of meeting the need {artefact.chance:.0%}, kept one {kept.chance:.0%}"
    else:
        why = f"{kept.name} is smaller and holds too"
    return replace(artefact, why=why)

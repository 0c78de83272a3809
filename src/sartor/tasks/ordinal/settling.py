"""Which level to say, of probabilities over levels: fitted on validation rows.

With levels 0 … K − 1, p their probabilities and E = Σ k · p_k:

    mode      the level of the largest p              best for accuracy
    median    the first level with Σ_{j ≤ k} p_j ≥ ½   least expected |error|
    mean      the level nearest to E                  least expected squared error
    cuts      how many of the fitted cuts E is above  whatever is asked for

A rule is taken where it does better than those before it on rows that had no say in its cuts.
"""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sartor.need.criterion import Criterion

Doubles = NDArray[np.float64]
Levels = NDArray[np.intp]
Rule = Literal["mode", "median", "mean", "cuts"]
Aim = Literal["accuracy", "mae", "quadratic_weighted_kappa"]
_PASSES = 3
_STEPS = np.linspace(-0.45, 0.45, 19)
_LEAST_GAIN = 0.002
"""Of the aim's own unit: a dearer rule has to gain more than rounding."""


def aim_of(criteria: Sequence[Criterion]) -> Aim:
    """What the first criterion that speaks of levels asks for; kappa where none does."""
    for criterion in criteria:
        if criterion.metric in get_args(Aim):
            return criterion.metric  # type: ignore[return-value]  # it is one of them
    return "quadratic_weighted_kappa"


def decide(probabilities: Doubles, rule: str, cuts: Sequence[float] = ()) -> Levels:
    """(rows,) levels, from 0, of (rows, levels) probabilities.

    Args:
        probabilities: Each row adds up to 1.
        rule: One of `Rule`.
        cuts: Rising, one fewer than there are levels; read by the rule of that name alone.
    """
    levels = probabilities.shape[1]
    if rule == "mode":
        return probabilities.argmax(1)
    if rule == "median":
        # Rounding may leave the last sum a little below one half of nothing: the last level then.
        reached = probabilities.cumsum(1) >= 0.5
        reached[:, -1] = True
        return reached.argmax(1)
    place = probabilities @ np.arange(levels)
    if rule == "mean":
        return np.clip(np.floor(place + 0.5), 0, levels - 1).astype(np.intp)
    return np.searchsorted(np.asarray(cuts, np.float64), place, side="right").astype(np.intp)


def fit_rule(probabilities: Doubles, truth: Levels, aim: Aim) -> tuple[Rule, tuple[float, ...]]:
    """The rule that serves the aim best, with its cuts where it has some.

    Args:
        probabilities: (rows, levels) of validation rows.
        truth: (rows,) levels, from 0.
        aim: What is to be large (mae: small).
    """
    first: Rule = {"accuracy": "mode", "mae": "median"}.get(aim, "mean")  # type: ignore[assignment]
    order: list[Rule] = [first, *(rule for rule in get_args(Rule)[:3] if rule != first)]
    worth = {rule: _worth(decide(probabilities, rule), truth, aim) for rule in order}
    best = order[0]
    for rule in order[1:]:
        best = rule if worth[rule] > worth[best] + _LEAST_GAIN else best
    # Cuts fit their rows' luck: each half of the rows is answered by the other half's.
    side = np.arange(len(truth)) % 2 == 0
    said = np.empty(len(truth), np.intp)
    for half in (side, ~side):
        cuts = fit_cuts(probabilities[~half], truth[~half], aim)
        said[half] = decide(probabilities[half], "cuts", cuts)
    if _worth(said, truth, aim) > worth[best] + _LEAST_GAIN:
        return "cuts", fit_cuts(probabilities, truth, aim)
    return best, ()


def fit_cuts(probabilities: Doubles, truth: Levels, aim: Aim) -> tuple[float, ...]:
    """(levels − 1) rising cuts of the expected level, by coordinate search from half-way."""
    cuts = np.arange(probabilities.shape[1] - 1) + 0.5
    start = cuts.copy()
    best = _worth(decide(probabilities, "cuts", cuts.tolist()), truth, aim)
    for _ in range(_PASSES):
        before = cuts.copy()
        for at in range(len(cuts)):
            # From the mildest change outwards, so that of equally good cuts the mildest is kept.
            for step in sorted(_STEPS.tolist(), key=abs):
                moved = cuts.copy()
                moved[at] = start[at] + step
                worth = _worth(decide(probabilities, "cuts", moved.tolist()), truth, aim)
                if worth > best + 1e-12:
                    best, cuts = worth, moved
        if np.array_equal(before, cuts):
            break
    return tuple(float(cut) for cut in cuts)


def _worth(said: Levels, truth: Levels, aim: Aim) -> float:
    """Larger is better."""
    if not len(truth):
        return 0.0
    if aim == "accuracy":
        return float((said == truth).mean())
    if aim == "mae":
        return -float(np.abs(said - truth).mean())
    apart = float(((said - truth) ** 2).mean())
    chance = float((said**2).mean() + (truth**2).mean() - 2 * said.mean() * truth.mean())
    return 1 - apart / chance if chance > 0 else 0.0


def settled(probabilities: Doubles, truth: Levels, criteria: Sequence[Criterion]) -> dict[str, Any]:
    """The rule as a decision holds it."""
    rule, cuts = fit_rule(probabilities, truth, aim_of(criteria))
    return {"rule": rule, **({"cuts": list(cuts)} if cuts else {})}

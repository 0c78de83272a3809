"""The chance that every criterion will be met on the test rows, seen from validation rows.

A population is drawn from the posterior (Bayesian bootstrap of the validation rows, with half a
pseudo-row for and half against each criterion, Jeffreys' amount, so that 100 % on validation is no
certainty), a test set from the population, and the verdict rule is applied to it. All criteria see
the same draws, so that the chance is of all of them together. Averaged metrics take their
half-widths from the validation rows, scaled to the test size, instead of a bootstrap a draw.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sartor.judge.alpha import two_sided
from sartor.judge.api import Part, Subject
from sartor.judge.intervals import bootstrap, clopper_pearson
from sartor.judge.statistic import Floats
from sartor.judge.verdicts import RowsBehind, gather
from sartor.need.criterion import Comparison, Criterion
from sartor.need.verdict import Verdict

_PSEUDO = 0.5
_BOOTSTRAP = 500


@dataclass(frozen=True, slots=True)
class Chance:
    """How likely the need is to be met on the test rows.

    Args:
        overall: That all criteria are met, 0 to 1; criteria not known yet are left out.
        each: Chance of every criterion, in order; None where nothing is known of it yet.
    """

    overall: float
    each: tuple[float | None, ...]


def chance_of_met(
    criteria: Sequence[Criterion],
    validation: Subject,
    test_size: int,
    *,
    known: Sequence[Verdict] = (),
    draws: int = 200,
    seed: int = 0,
) -> Chance:
    """Forecast the verdicts.

    Args:
        criteria: Of the need.
        validation: Answers on validation rows.
        test_size: Rows of the test set to come.
        known: Verdicts already certain (size, latency), found by their criterion's text.
        draws: Imagined test sets.
        seed: Same seed, same chance.
    """
    rng = np.random.default_rng(seed)
    counts = _test_sets(validation, test_size, draws, rng)
    settled = {verdict.criterion: verdict.state == "met" for verdict in known}
    together = np.ones(draws, dtype=bool)
    each: list[float | None] = []
    for criterion in criteria:
        if criterion.text in settled:
            met = np.full(draws, settled[criterion.text])
        else:
            found = gather(criterion, _without_artefact(validation))
            if not isinstance(found, RowsBehind) or found.parts[0].statistic.n == 0:
                each.append(None)
                continue
            scale = test_size / max(len(validation.examples), 1)
            met = _met(found, counts[:, found.rows], scale, rng)
        together &= met
        each.append(float(met.mean()))
    return Chance(float(together.mean()), tuple(each))


def _test_sets(validation: Subject, test_size: int, draws: int, rng: np.random.Generator) -> Floats:
    """(draws, rows), how often each validation row stands in each imagined test set."""
    rows = len(validation.examples)
    if validation.groups is None:
        names, member = rows, np.arange(rows)
    else:
        found, member = np.unique(np.asarray(validation.groups), return_inverse=True)
        names, member = len(found), member.reshape(-1)
    weights = rng.standard_exponential((draws, names))
    units = round(test_size * names / max(rows, 1))
    shares = weights / weights.sum(axis=1, keepdims=True)
    return rng.multinomial(units, shares).astype(float)[:, member]


def _met(
    found: RowsBehind, counts: Floats, scale: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    alpha = two_sided(found.criterion.confidence, 1)
    met = np.ones(len(counts), dtype=bool)
    for part in found.parts:
        sums = counts @ part.statistic.kinds[part.statistic.code]
        for rows in (part.statistic.lowers, part.statistic.raises):
            mass = rng.standard_gamma(_PSEUDO / len(rows), (len(counts), len(rows)))
            sums += rng.poisson(mass * scale) @ rows
        low, high = _ends(part, sums, alpha, found)
        met &= _holds(low, high, part.comparison, part.threshold)
    return met


def _ends(part: Part, sums: Floats, alpha: float, found: RowsBehind) -> tuple[Floats, Floats]:
    statistic = part.statistic
    if statistic.proportion is not None and found.groups is None:
        low, high = clopper_pearson(sums[:, 0], sums[:, 1], alpha)
        return statistic.proportion(low), statistic.proportion(high)
    low, high = bootstrap(statistic, alpha, 0, found.groups, draws=_BOOTSTRAP)
    values = statistic.value(sums)
    shrink = np.sqrt(statistic.n / np.maximum(sums @ statistic.trials, 1e-9))
    observed = statistic.observed
    return values - (observed - low) * shrink, values + (high - observed) * shrink


def _holds(
    low: Floats, high: Floats, comparison: Comparison, threshold: float
) -> NDArray[np.bool_]:
    if comparison == ">=":
        return low >= threshold
    if comparison == ">":
        return low > threshold
    return high <= threshold if comparison == "<=" else high < threshold


def _without_artefact(subject: Subject) -> Subject:
    """Timing costs seconds: a forecast never starts it."""
    return Subject(
        examples=subject.examples,
        answers=subject.answers,
        outputs=subject.outputs,
        baseline=subject.baseline,
        groups=subject.groups,
        target=subject.target,
        opinion=subject.opinion,
    )

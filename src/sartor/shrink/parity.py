"""Parity: does the changed artefact still answer as the fitted model did, on the same rows?

A paired non-inferiority test on validation rows. With b rows right only before and c rows right
only after, the drop is (b − c) / n and its upper end (Agresti and Min 2005, doi:10.1002/sim.1781)

    d + z · sqrt((b' + c') − (b' − c')² / n') / n',   half an observation added to each cell

Of numbers the drop is the mean growth of |error|, in deviations of the truth; see `of_numbers`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from operator import eq
from statistics import fmean, stdev
from typing import Any

import numpy as np

from sartor.core.replies import rouge_l

_Z = 1.645  # one-sided 95 %
_CLOSE = 0.05
"""Deviations of the truth within which two numbers say the same."""


@dataclass(frozen=True, slots=True)
class Parity:
    """What an artefact lost against the fitted model.

    Args:
        agreement: Share of rows with the same forced answer, or with numbers that are close.
        drop: Loss of accuracy, 0 to 1, or growth of the error; negative when it gained.
        drop_high: Upper end of its one-sided 95 % interval.
        shift: Largest change of any probability, or of a number.
        n: Validation rows compared.
        tolerance: Largest `drop_high` that passes.
        numbers: Whether answers are numbers: changes are in deviations of the truth then.
        measure: What `drop` is a loss of.
    """

    agreement: float
    drop: float
    drop_high: float
    shift: float
    n: int
    tolerance: float
    numbers: bool = False
    measure: str = "accuracy"

    @property
    def holds(self) -> bool:
        return self.drop_high <= self.tolerance

    def sentence(self) -> str:
        """One line for the report."""
        if self.numbers:
            return (
                f"{self.agreement:.1%} of {self.n} answers close, error {self.drop * 100:+.1f} "
                f"points of the truth's deviation (at worst {self.drop_high * 100:+.1f}, tolerance "
                f"{self.tolerance * 100:+.1f})"
            )
        return (
            f"{self.agreement:.1%} of {self.n} answers alike, {self.measure}"
            f" {0 - self.drop * 100:+.1f} points (at worst {0 - self.drop_high * 100:+.1f},"
            f" tolerance {-self.tolerance * 100:+.1f})"
        )


def _best(answer: Mapping[str, Any]) -> str:
    return answer["best"]


def _stated(answer: Mapping[str, Any]) -> Mapping[str, float]:
    """Probabilities by label; of an answer without any, that it is right."""
    return answer.get("probabilities") or {"": float(answer.get("confidence", 0.0))}


def parity(
    before: Sequence[Mapping[str, Any]],
    after: Sequence[Mapping[str, Any]],
    truth: Sequence[str],
    tolerance: float,
    said: Callable[[Mapping[str, Any]], str] = _best,
    agrees: Callable[[str, str], bool] = eq,
) -> Parity:
    """Compare answers before and after a change, row by row.

    Args:
        before: Answers of the fitted model, in the task's response form.
        after: Answers of the artefact on the same rows.
        truth: The right answers, as texts (see `tasks.Target`).
        tolerance: Least value of `Parity.tolerance`.
        said: An answer to the text of what it would say if it had to.
        agrees: Whether such a text is right, given the right answer.
    """
    n = len(truth)
    right = sum(agrees(said(a), label) for a, label in zip(before, truth, strict=True)) / n
    # On few rows no change could ever be shown to be small: then a loss within the doubt that the
    # score itself carries passes.
    tolerance = max(tolerance, 1.96 * sqrt(right * (1 - right) / n))
    lost = gained = same = 0
    shift = 0.0
    for old, new, label in zip(before, after, truth, strict=True):
        was, now = agrees(said(old), label), agrees(said(new), label)
        lost += was and not now
        gained += now and not was
        same += said(old) == said(new)
        now_stated = _stated(new)
        for name, p in _stated(old).items():
            shift = max(shift, abs(p - now_stated.get(name, 0.0)))
    b, c, total = lost + 0.5, gained + 0.5, n + 2
    margin = _Z * sqrt(max(b + c - (b - c) ** 2 / total, 0.0)) / total
    # Rows that never change sides prove nothing lost; the added halves must not say otherwise.
    high = (b - c) / total + (margin if lost or gained else 0.0)
    return Parity(same / n, (lost - gained) / n, high, shift, n, tolerance)


def of_numbers(
    before: Sequence[Mapping[str, Any]],
    after: Sequence[Mapping[str, Any]],
    truth: Sequence[float],
    tolerance: float,
) -> Parity:
    """Compare answers that are numbers before and after a change, row by row.

    A row that either did not answer counts as answered with the truth's mean.

    Args:
        before: Answers of the fitted model.
        after: Answers of the artefact on the same rows.
        truth: The right numbers.
        tolerance: Least value of `Parity.tolerance`, in deviations of the truth.
    """
    right = np.array(truth, np.float64)
    unit, blank = float(right.std()) or 1.0, float(right.mean())
    old, new = (
        np.array([blank if a["value"] is None else a["value"] for a in answers], np.float64)
        for answers in (before, after)
    )
    apart, was = np.abs(new - old) / unit, np.abs(old - right) / unit
    grown = np.abs(new - right) / unit - was
    n = len(right)
    # As for labels: a loss within the doubt that the score itself carries passes.
    tolerance = max(tolerance, 1.96 * float(was.std()) / sqrt(n))
    drop = float(grown.mean())
    return Parity(
        agreement=float((apart <= _CLOSE).mean()),
        drop=drop,
        drop_high=drop + _Z * float(grown.std()) / sqrt(n),
        shift=float(apart.max(initial=0.0)),
        n=n,
        tolerance=tolerance,
        numbers=True,
    )


def overlap_parity(
    before: Sequence[Mapping[str, Any]],
    after: Sequence[Mapping[str, Any]],
    truth: Sequence[str],
    tolerance: float,
    said: Callable[[Mapping[str, Any]], str] = _best,
) -> Parity:
    """The same for replies, which are more or less right, by their ROUGE-L.

    With d the loss of a row and n rows, the upper end is  mean d + z · s_d / sqrt(n).  The
    arguments are those of `parity`.
    """
    pairs = [(said(old), said(new)) for old, new in zip(before, after, strict=True)]
    was = [rouge_l(old, right) for (old, _), right in zip(pairs, truth, strict=True)]
    now = [rouge_l(new, right) for (_, new), right in zip(pairs, truth, strict=True)]
    lost = [one - other for one, other in zip(was, now, strict=True)]
    n = len(lost)
    if n > 1:  # as there: a loss within the doubt that the score itself carries passes
        tolerance = max(tolerance, 1.96 * stdev(was) / sqrt(n))
    margin = _Z * stdev(lost) / sqrt(n) if n > 1 else 0.0
    alike = sum(old == new for old, new in pairs) / n
    drop, shift = fmean(lost), max(map(abs, lost))
    return Parity(alike, drop, drop + margin, shift, n, tolerance, measure="overlap")

"""Metrics of one label a row, as scikit-learn defines them (undefined ratios are 0).

`label` in an answer is None where the model abstained; `best` is what it would have said. Accuracy,
precision, recall and F1 judge `best`; `automation_rate` judges how many it answered, and how well.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sartor.core.errors import Fault
from sartor.core.types import TargetKind
from sartor.judge.api import CHECKS, Part, Subject
from sartor.judge.automation import automation
from sartor.judge.faults import by_label_fault
from sartor.judge.outcomes import Outcomes, losses, outcomes, probabilities
from sartor.judge.ratios import RATIOS, Ratio, metrics_by_label, of_label, rows_behind
from sartor.judge.statistic import Floats, Statistic, divide, mean, proportion
from sartor.need.criterion import Criterion

_BINS = 15
_NEEDS_PROBABILITIES = ("log_loss", "calibration_error")
_BOUNDS = {"automation_rate": ("precision",)}

METRICS: Mapping[str, str] = {
    "accuracy": "share of rows whose label is found",
    **metrics_by_label(
        "rows", "have it", {"micro": "over all rows; with one label a row, the accuracy"}
    ),
    "log_loss": "mean of −ln of the probability given to the true label, in nats",
    "calibration_error": "mean distance of stated confidence from accuracy, over 15 bins",
    "automation_rate": "share of rows answered without a person; takes [precision >= …]",
}


@CHECKS.add
@dataclass(frozen=True, slots=True)
class Classification:
    """Counts right and wrong labels."""

    metrics: Mapping[str, str] = field(default_factory=lambda: METRICS)
    target: TargetKind | None = "label"

    def fault(self, criterion: Criterion, outputs: Sequence[str]) -> Fault | None:
        alone = (*_NEEDS_PROBABILITIES, "automation_rate")
        return by_label_fault(criterion, outputs, alone, _BOUNDS.get(criterion.metric, ()))

    def parts(self, criterion: Criterion, subject: Subject) -> tuple[Part, ...]:
        if criterion.metric == "automation_rate":
            found = outcomes(subject)
            return automation(criterion, found.answered, found.right)
        part = Part.asked(
            criterion,
            _statistic(criterion, subject),
            lambda: _counted(criterion, outcomes(subject, baseline=True)),
            of=rows_behind(criterion, subject.outputs),
        )
        return (part,)


def _statistic(criterion: Criterion, subject: Subject) -> Statistic:
    found = outcomes(subject)
    if criterion.metric == "log_loss":
        loss = losses(probabilities(subject, criterion.metric), found.truth)
        # An unseen row may cost more than any seen one: at least as much as a blind guess.
        worst = max(loss.max(initial=0.0), np.log(len(found.classes)))
        return mean(loss, float(loss.min(initial=0.0)), float(worst))
    if criterion.metric == "calibration_error":
        return _calibration(found, probabilities(subject, criterion.metric))
    return _counted(criterion, found)


def _counted(criterion: Criterion, found: Outcomes) -> Statistic:
    """Metrics that need nothing but labels and forced answers."""
    metric, label = criterion.metric, criterion.label(found.classes)
    if metric == "accuracy" or metric.endswith("_micro"):
        return proportion(found.right)
    if label is None:
        name, _, how = metric.rpartition("_")
        return _averaged(found, RATIOS[name], weighted=how == "weighted")
    wanted = found.classes.index(label) if label in found.classes else len(found.classes)
    return of_label(metric, found.truth == wanted, found.best == wanted)


def _averaged(found: Outcomes, ratio: Ratio, *, weighted: bool) -> Statistic:
    """Sums are (hits, true, said), a block of one number a class each."""
    k = len(found.classes)
    # Index k stands for an answer off the list: it counts against the true class only.
    pairs, code = np.unique(
        np.stack([found.truth, np.where(found.best < 0, k, found.best)]),
        axis=1,
        return_inverse=True,
    )
    eye = np.vstack([np.eye(k), np.zeros(k)])
    true, said = eye[pairs[0]], eye[pairs[1]]

    def value(sums: Floats) -> Floats:
        hits, true, said = sums[..., :k], sums[..., k : 2 * k], sums[..., 2 * k :]
        ratios = ratio(hits, true, said)
        weight = true if weighted else ((true + said) > 0).astype(float)
        return divide((ratios * weight).sum(-1), weight.sum(-1))

    seen = np.flatnonzero(np.bincount(found.truth, minlength=k))
    own = np.eye(k)[seen]
    elsewhere = (1 - own) / max(k - 1, 1)
    return Statistic(
        kinds=np.hstack([true * said, true, said]),
        code=code.reshape(-1).astype(np.int64),
        value=value,
        lowers=np.hstack([np.zeros_like(own), own, elsewhere]),
        raises=np.hstack([own, own, own]),
        trials=np.repeat([0.0, 1.0, 0.0], k),
    )


def _calibration(found: Outcomes, table: Floats) -> Statistic:
    """Expected calibration error of the forced answer, equal-width bins.

    Naeini et al. 2015; Guo et al. 2017, https://arxiv.org/abs/1706.04599
    """
    known = (found.best >= 0) & (found.best < table.shape[1])
    column = np.where(known, found.best, 0)
    confidence = np.where(known, table[np.arange(len(table)), column], 0.0)
    right = found.right.astype(float)
    # Bins are (0, 1/15], …, (14/15, 1].
    bins = np.clip(np.ceil(confidence * _BINS).astype(int) - 1, 0, _BINS - 1)
    eye = np.eye(_BINS)[bins]

    stated_sums = confidence @ eye

    def value(sums: Floats) -> Floats:
        gap, count = sums[..., :_BINS], sums[..., _BINS:]
        return divide(np.abs(gap).sum(-1), count.sum(-1))

    def at_zero(rng: np.random.Generator, draws: int) -> Floats:
        # One draw at a time in single precision: all at once would be (draws, rows) in memory.
        gaps = np.empty((draws, _BINS))
        stated = confidence.astype(np.float32)
        for draw in range(draws):
            drawn = rng.random(len(stated), dtype=np.float32) < stated
            gaps[draw] = np.bincount(bins, weights=drawn, minlength=_BINS) - stated_sums
        return np.hstack([gaps, np.broadcast_to(eye.sum(0), (draws, _BINS))])

    # One more row may be wrong or right in any bin; one that agrees with its bin lowers the error.
    seen = np.unique(bins)
    own = np.eye(_BINS)[seen]
    stated = (stated_sums[seen] / eye.sum(0)[seen])[:, None]
    surprises = np.vstack([np.hstack([-own * stated, own]), np.hstack([own * (1 - stated), own])])
    calm = np.vstack([np.hstack([np.zeros_like(own), own])] * 2)
    return Statistic(
        kinds=np.hstack([eye * (right - confidence)[:, None], eye]),
        code=np.arange(len(bins)),
        value=value,
        lowers=calm,
        raises=surprises,
        trials=np.repeat([0.0, 1.0], _BINS),
        at_zero=at_zero,
    )

"""Metrics of several labels a row, as scikit-learn defines them (undefined ratios are 0).

Rows are the unit: all labels of a row are drawn together, so that what goes together in a row is no
independent evidence. Averages weigh labels; `subset_accuracy` asks for the whole set of a row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sartor.core.errors import Fault
from sartor.core.types import TargetKind
from sartor.judge.api import CHECKS, CannotMeasure, Part, Subject
from sartor.judge.average_precision import mean_average_precision
from sartor.judge.faults import by_label_fault
from sartor.judge.outcomes import probabilities
from sartor.judge.ratios import RATIOS, averaged, metrics_by_label, micro, of_label, rows_behind
from sartor.judge.statistic import Floats, Statistic, divide, mean, proportion
from sartor.need.criterion import Criterion
from sartor.tasks import Unreadable
from sartor.tasks._target.label_set import LabelSet

_BINS = 15
_TINY = 1e-15  # A probability of 0 for the truth costs 34.5 nats, not infinity.
_NEEDS_PROBABILITIES = ("log_loss", "calibration_error", "map")

METRICS: Mapping[str, str] = {
    **metrics_by_label("rows", "have it", {"micro": "over all labels of all rows together"}),
    "subset_accuracy": "share of rows whose labels are all found, and no other",
    "hamming_loss": "share of wrong answers, yes or no, over all labels of all rows",
    "map": "mean over labels of the average precision of the rows by stated probability",
    "log_loss": "mean of −ln of the probability given to the truth about each label, in nats",
    "calibration_error": "mean distance of stated probabilities from shares, over 15 bins",
}

Marks = NDArray[np.bool_]


@CHECKS.add
@dataclass(frozen=True, slots=True)
class MultiLabel:
    """Counts right and wrong labels of rows that have several."""

    metrics: Mapping[str, str] = field(default_factory=lambda: METRICS)
    target: TargetKind | None = "labels"

    def fault(self, criterion: Criterion, outputs: Sequence[str]) -> Fault | None:
        return by_label_fault(criterion, outputs, _NEEDS_PROBABILITIES)

    def parts(self, criterion: Criterion, subject: Subject) -> tuple[Part, ...]:
        part = Part.asked(
            criterion,
            _statistic(criterion, subject),
            lambda: _todays(criterion, subject),
            of=rows_behind(criterion, subject.outputs),
        )
        return (part,)


def by_label(subject: Subject) -> list[dict[str, object]]:
    """For each label the rows that have it, that were given it, and that are both, as JSON."""
    truth, names = _truth(subject)
    said = _marks([answer.get("labels") or () for answer in subject.answers], names)
    sums = (truth.sum(0), said.sum(0), (truth & said).sum(0))
    return [
        {"label": name, "true": int(true), "said": int(given), "hits": int(hits)}
        for name, true, given, hits in zip(names, *sums, strict=True)
    ]


def _statistic(criterion: Criterion, subject: Subject) -> Statistic:
    truth, names = _truth(subject)
    if criterion.metric not in _NEEDS_PROBABILITIES:
        said = _marks([answer.get("labels") or () for answer in subject.answers], names)
        return _counted(criterion, truth, said, names)
    # A label that the model does not know is one to which it gives nothing.
    stated = probabilities(subject, criterion.metric)
    stated = np.hstack([stated, np.zeros((len(stated), len(names) - stated.shape[1]))])
    if criterion.metric == "log_loss":
        loss = _losses(stated, truth)
        # An unseen row may cost more than any seen one: at least as much as a blind guess.
        worst = max(loss.max(initial=0.0), float(np.log(2)))
        return mean(loss, float(loss.min(initial=0.0)), worst)
    if criterion.metric == "calibration_error":
        return calibration(stated, truth)
    return mean_average_precision(stated, truth)


def _counted(criterion: Criterion, truth: Marks, said: Marks, names: Sequence[str]) -> Statistic:
    """Metrics that need nothing but the sets."""
    metric, label = criterion.metric, criterion.label(names)
    if metric == "subset_accuracy":
        return proportion((truth == said).all(1))
    if metric == "hamming_loss":
        return mean((truth != said).mean(1), 0.0, 1.0)
    if label is not None:
        k = names.index(label) if label in names else None
        none = np.zeros(len(truth), bool)
        has, given = (none, none) if k is None else (truth[:, k], said[:, k])
        return of_label(metric, has, given)
    name, _, how = metric.rpartition("_")
    if how == "micro":
        both, has, given = (each.sum(1) for each in (truth & said, truth, said))
        return micro(RATIOS[name], (both, has, given))
    counts = (truth & said).astype(float), truth.astype(float), said.astype(float)
    return averaged(RATIOS[name], counts, weighted=how == "weighted")


def calibration(stated: Floats, truth: Marks) -> Statistic:
    """Expected calibration error of every yes or no, equal-width bins.

    Naeini et al. 2015; Guo et al. 2017, https://arxiv.org/abs/1706.04599
    """
    rows, k = truth.shape
    # Bins are [0, 1/15], …, (14/15, 1].
    bins = np.clip(np.ceil(stated * _BINS).astype(int) - 1, 0, _BINS - 1)
    place = (np.arange(rows)[:, None] * _BINS + bins).ravel()

    def binned(values: Floats) -> Floats:
        """(rows, bins) sums over a row's labels."""
        found = np.bincount(place, weights=values.ravel(), minlength=rows * _BINS)
        return found.astype(np.float64).reshape(rows, _BINS)

    counts = binned(np.ones_like(stated))
    gaps = binned(truth - stated)

    def value(sums: Floats) -> Floats:
        return divide(np.abs(sums[..., :_BINS]).sum(-1), sums[..., _BINS : 2 * _BINS].sum(-1))

    def at_zero(rng: np.random.Generator, draws: int) -> Floats:
        found = np.empty((draws, _BINS))
        flat, expected = bins.ravel(), binned(stated).sum(0)
        wanted = stated.ravel().astype(np.float32)
        for draw in range(draws):
            drawn = rng.random(len(wanted), dtype=np.float32) < wanted
            found[draw] = np.bincount(flat, weights=drawn, minlength=_BINS) - expected
        whole = np.broadcast_to(np.append(counts.sum(0), float(rows)), (draws, _BINS + 1))
        return np.hstack([found, whole])

    # One more row may be all wrong or all right in any bin that there is.
    seen = np.flatnonzero(counts.any(0))
    own, one = np.eye(_BINS)[seen] * k, np.ones((len(seen), 1))
    level = (binned(stated).sum(0)[seen] / counts.sum(0)[seen])[:, None]
    surprises = [np.hstack([-own * level, own, one]), np.hstack([own * (1 - level), own, one])]
    calm = np.hstack([np.zeros_like(own), own, one])
    return Statistic(
        kinds=np.hstack([gaps, counts, np.ones((rows, 1))]),
        code=np.arange(rows),
        value=value,
        lowers=np.vstack([calm, calm]),
        raises=np.vstack(surprises),
        trials=np.append(np.zeros(2 * _BINS), 1.0),
        at_zero=at_zero,
    )


def _losses(stated: Floats, truth: Marks) -> Floats:
    """(rows,) the mean over labels of −ln of the probability given to the truth, in nats."""
    right = np.where(truth, stated, 1.0 - stated)
    return -np.log(np.clip(right, _TINY, 1.0)).mean(1)


def _truth(subject: Subject) -> tuple[Marks, tuple[str, ...]]:
    """(rows, labels) of the targets, and the labels: the outputs, then those only the rows have.

    Raises:
        CannotMeasure: If answers and rows do not match.
    """
    target = subject.truth("set of labels")
    strange = {label for labels in target for label in labels} - set(subject.outputs)
    names = (*subject.outputs, *sorted(strange))
    return _marks(target, names), names


def _todays(criterion: Criterion, subject: Subject) -> Statistic:
    """What the criterion counts, of the baseline's sets."""
    (truth, names), cells = _truth(subject), subject.today()
    form = LabelSet().among(cells, names)
    try:
        read = [form.value(form.read(cell, names)) if cell else () for cell in cells]
    except Unreadable as error:
        raise CannotMeasure(f"The baseline: {error.what}.", fix=f"{error.fix}.") from None
    return _counted(criterion, truth, _marks(read, names), names)


def _marks(sets: Sequence[object], names: Sequence[str]) -> Marks:
    index = {name: i for i, name in enumerate(names)}
    found = np.zeros((len(sets), len(names)), bool)
    for row, labels in enumerate(sets):
        for label in labels:  # type: ignore[attr-defined]  # answers are mappings of objects
            if label in index:
                found[row, index[label]] = True
    return found

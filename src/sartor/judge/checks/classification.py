"""Metrics of one label a row, as scikit-learn defines them (undefined ratios are 0).

`label` in an answer is None where the model abstained; `best` is what it would have said. Accuracy,
precision, recall and F1 judge `best`; `automation_rate` judges how many it answered, and how well.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sartor.core.errors import Fault
from sartor.core.near import near_miss
from sartor.judge.api import CHECKS, Part, Subject
from sartor.judge.outcomes import Outcomes, losses, outcomes, probabilities
from sartor.judge.statistic import Floats, Statistic, difference, divide, mean, proportion
from sartor.need.criterion import Bound, Criterion

_BINS = 15
_PER_LABEL = ("precision", "recall", "f1")
_NEEDS_PROBABILITIES = ("log_loss", "calibration_error")

METRICS: Mapping[str, str] = {
    "accuracy": "share of rows whose label is found",
    "precision": "of the rows given the label, the share that have it; takes [label=…]",
    "recall": "of the rows with the label, the share that are found; takes [label=…]",
    "f1": "harmonic mean of precision and recall; takes [label=…]",
    **{
        f"{name}_{how}": f"{name} {what}"
        for name in _PER_LABEL
        for how, what in (
            ("macro", "averaged over labels, each counting the same"),
            ("weighted", "averaged over labels, each counting as often as it occurs"),
            ("micro", "over all rows; with one label a row, the accuracy"),
        )
    },
    "log_loss": "mean of −ln of the probability given to the true label, in nats",
    "calibration_error": "mean distance of stated confidence from accuracy, over 15 bins",
    "automation_rate": "share of rows answered without a person; takes [precision >= …]",
}


@CHECKS.add
@dataclass(frozen=True, slots=True)
class Classification:
    """Counts right and wrong labels."""

    metrics: Mapping[str, str] = field(default_factory=lambda: METRICS)

    def fault(self, criterion: Criterion, outputs: Sequence[str]) -> Fault | None:
        return (
            _threshold_fault(criterion)
            or _parameter_fault(criterion)
            or _label_fault(criterion, outputs)
        )

    def parts(self, criterion: Criterion, subject: Subject) -> tuple[Part, ...]:
        if criterion.metric == "automation_rate":
            return _automation(criterion, outcomes(subject))
        statistic = _statistic(criterion, subject)
        if criterion.relative_to == "baseline":
            today = outcomes(subject, baseline=True)
            statistic = difference(statistic, _counted(criterion, today))
        label = label_of(criterion, subject.outputs)
        of = f"label={label}" if label is not None and criterion.metric == "recall" else ""
        return (Part(criterion.metric, statistic, criterion.comparison, criterion.threshold, of),)


def label_of(criterion: Criterion, outputs: Sequence[str]) -> str | None:
    """The label in `[label=…]` as the outputs spell it (a bare 1 is the label "1"), or None."""
    found = criterion.parameter("label")
    if found is None or isinstance(found, Bound):
        return None
    if isinstance(found, str):
        return found
    spellings = (f"{found:g}", str(found))
    return next((s for s in spellings if s in outputs), spellings[0])


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
    metric, label = criterion.metric, label_of(criterion, found.classes)
    if metric == "accuracy" or metric.endswith("_micro"):
        return proportion(found.right)
    if label is None:
        name, _, how = metric.rpartition("_")
        return _averaged(found, _RATIOS[name], weighted=how == "weighted")
    wanted = found.classes.index(label) if label in found.classes else len(found.classes)
    is_label, said = found.truth == wanted, found.best == wanted
    if metric == "recall":
        return proportion(is_label & said, is_label)
    if metric == "precision":
        return proportion(is_label & said, said)
    return _f1(is_label & said, is_label | said)


def _f1(both: np.ndarray, either: np.ndarray) -> Statistic:
    """F1 = 2J / (1 + J) with J = TP / (TP + FP + FN), a proportion: so its interval is exact."""
    jaccard = proportion(both, either)

    def scale(share: Floats) -> Floats:
        return 2 * share / (1 + share)

    return Statistic(
        kinds=jaccard.kinds,
        code=jaccard.code,
        value=lambda sums: scale(jaccard.value(sums)),
        lowers=jaccard.lowers,
        raises=jaccard.raises,
        trials=jaccard.trials,
        proportion=scale,
    )


def _precisions(hits: Floats, true: Floats, said: Floats) -> Floats:
    return divide(hits, said)


def _recalls(hits: Floats, true: Floats, said: Floats) -> Floats:
    return divide(hits, true)


def _f1s(hits: Floats, true: Floats, said: Floats) -> Floats:
    return divide(2 * hits, true + said)


_RATIOS: Mapping[str, Callable[[Floats, Floats, Floats], Floats]] = {
    "precision": _precisions,
    "recall": _recalls,
    "f1": _f1s,
}


def _averaged(
    found: Outcomes, ratio: Callable[[Floats, Floats, Floats], Floats], *, weighted: bool
) -> Statistic:
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


def _automation(criterion: Criterion, found: Outcomes) -> tuple[Part, ...]:
    rate = proportion(found.answered)
    parts = [Part("automation rate", rate, criterion.comparison, criterion.threshold)]
    bound = criterion.parameter("precision")
    if isinstance(bound, Bound):
        right = proportion(found.right & found.answered, found.answered)
        parts.append(Part("precision among answered", right, bound.comparison, bound.value))
    return tuple(parts)


def _threshold_fault(criterion: Criterion) -> Fault | None:
    metric, limit, more = criterion.metric, criterion.threshold, criterion.wants_more
    if criterion.comparison in ("==", "!="):
        return Fault(
            criterion.line,
            f"{criterion.text!r}: no sample can show that {metric} is exactly {limit:g}.",
            "use >= or <=.",
        )
    if criterion.relative_to:
        if metric in (*_NEEDS_PROBABILITIES, "automation_rate"):
            return Fault(
                criterion.line,
                f"{criterion.text!r}: the baseline's labels have no {metric}.",
                "compare accuracy, precision, recall or F1 with the baseline.",
            )
        if not -1 < limit < 1:
            return Fault(
                criterion.line,
                f"{criterion.text!r}: no two values of {metric} are {limit:g} apart.",
                f"write a margin between -1 and 1, e.g. {metric} >= baseline + 0.03.",
            )
        return None
    if metric == "log_loss":
        possible = limit >= 0 if more else limit > 0
    else:
        possible = (0 <= limit < 1) if more else (0 < limit <= 1)
    if possible:
        return None
    if limit == 1 and more:
        what, fix = "no finite number of rows can show it", "ask for a little less, e.g. 0.99."
    elif 1 < limit <= 100 and metric != "log_loss":
        what, fix = f"{metric} lies between 0 and 1", f"{limit:g} % is written {limit / 100:g}."
    else:
        what = f"{metric} lies {'above 0' if metric == 'log_loss' else 'between 0 and 1'}"
        fix = "write a threshold inside that range."
    return Fault(criterion.line, f"{criterion.text!r} cannot be met: {what}.", fix)


def _parameter_fault(criterion: Criterion) -> Fault | None:
    takes = {"automation_rate": ("precision",)}.get(
        criterion.metric, ("label",) if criterion.metric in _PER_LABEL else ()
    )
    for name, value in criterion.parameters:
        if name not in takes:
            return Fault(
                criterion.line,
                f"{criterion.text!r}: {criterion.metric} takes no parameter {name!r}.",
                near_miss(name, takes),
            )
        if isinstance(value, Bound) == (name == "label"):
            right = "label=name" if name == "label" else "precision >= 0.97"
            return Fault(
                criterion.line,
                f"{criterion.text!r}: {name!r} is not written that way.",
                f"write {criterion.metric}[{right}].",
            )
        if isinstance(value, Bound) and not (
            value.comparison in (">=", ">") and 0 <= value.value < 1
        ):
            return Fault(
                criterion.line,
                f"{criterion.text!r}: {name} {value.comparison} {value.value:g} cannot be shown.",
                "write a bound from 0 to below 1, e.g. precision >= 0.97.",
            )
    return None


def _label_fault(criterion: Criterion, outputs: Sequence[str]) -> Fault | None:
    if criterion.metric not in _PER_LABEL:
        return None
    label = label_of(criterion, outputs)
    if label is None:
        first = outputs[0] if outputs else "name"
        return Fault(
            criterion.line,
            f"{criterion.text!r} does not say of which label.",
            f"write {criterion.metric}[label={first}], or {criterion.metric}_macro for all labels.",
        )
    if label not in outputs:
        return Fault(
            criterion.line,
            f"{criterion.text!r}: no label is called {label!r}.",
            near_miss(label, outputs),
        )
    return None

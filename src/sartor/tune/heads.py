"""Heads in closed form on cached activations: a grid of settings shares what can be shared.

Features are standardised by training mean μ and deviation σ; the scaling is folded exactly into
the linear layer: W' = W / σ, b' = b − W'μ, so the shipped head reads raw activations.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sartor.core.errors import DataError, SettingError
from sartor.core.likelihood import Truth, form
from sartor.core.protocols import Floats
from sartor.tune.logistic import Doubles, Problems, Rotated, solve, solve_yes_or_no
from sartor.tune.ridge import solve_ridge

Features = Callable[[tuple[int, ...]], Floats]
Labels = NDArray[np.int64]
_COLUMNS = 64
"""Features whose deviation is taken at a time."""


@dataclass(frozen=True, slots=True)
class HeadData:
    """What every setting of a grid shares.

    Args:
        train: Layers to (rows, len(layers) * width), read from the cache; called twice for each
            set of layers, so that nothing is held while problems are solved.
        validation: The same of the validation rows.
        labels: Of the training rows: (rows,) class indices; (rows, outputs) 1 where the row has the
            label: then each output is a regression of its own, one against the rest; or (rows,)
            numbers: then the head is a ridge regression.
        outputs: Number of classes.
        rescale: What the penalty takes for a feature's deviation, given its true one: a smaller
            one is penalised less. None: its own, so that all are penalised alike.
    """

    train: Features
    validation: Features
    labels: Truth
    outputs: int
    rescale: Callable[[Doubles], Doubles] | None = None


@dataclass(frozen=True, slots=True)
class HeadSetting:
    """One point of the grid.

    Args:
        layers: Hidden states to read, counted from 0.
        C: Inverse L2 strength on standardised features.
        weights: Weight of each class in the loss; of several labels a row, of the rows with each.
        average: Whether the mean of the layers is read instead of each beside the others.
    """

    layers: tuple[int, ...]
    C: float
    weights: tuple[float, ...]
    average: bool = False


@dataclass(frozen=True, slots=True)
class HeadFit:
    """A fitted linear layer on raw activations.

    Args:
        weight: (outputs, features).
        bias: (outputs,).
        validation_logits: (validation rows, outputs).
        train_logits: (training rows, outputs).
    """

    weight: Floats
    bias: Floats
    validation_logits: Floats
    train_logits: Floats


def fit_heads(data: HeadData, grid: Sequence[HeadSetting]) -> list[HeadFit]:
    """Fit every setting, in the grid's order; settings that share layers are solved together.

    The problem is convex and the start is fixed, so the result depends on no seed.

    Raises:
        DataError: If fewer than two classes have training rows.
        SettingError: If the features are not finite.
    """
    refuse_one_label(data.labels)
    fits: dict[HeadSetting, HeadFit] = {}
    for group in _sharing(grid):
        layers, average = group[0].layers, group[0].average
        every = np.ones((1, len(data.labels)), np.float32)
        scale, solved = _solve(data, group, every)
        train, validation = data.train(layers), data.validation(layers)
        for setting, (weight, bias) in zip(group, solved, strict=True):
            folded, offset = scale.fold(weight, bias)
            if average:
                # Beside one another again: each layer's share of the mean.
                folded = np.tile(folded / np.float32(len(layers)), (1, len(layers)))
            fits[setting] = HeadFit(
                folded, offset, validation @ folded.T + offset, train @ folded.T + offset
            )
    return [fits[setting] for setting in grid]


def cross_logits(data: HeadData, grid: Sequence[HeadSetting], folds: Labels) -> list[Floats]:
    """(rows, outputs) of each setting: a training row's logits by a head that did not see it.

    Means and deviations are those of all rows, which tell nothing of labels.

    Args:
        data: Validation rows are not read.
        grid: What to compare.
        folds: (rows,) the fold that leaves the row out, from 0.
    """
    refuse_one_label(data.labels)
    count = int(folds.max()) + 1
    kept = (folds[None, :] != np.arange(count)[:, None]).astype(np.float32)
    found: dict[HeadSetting, Floats] = {}
    for group in _sharing(grid):
        _, solved = _solve(data, group, kept)
        standard = _standardised(data, group[0])[1]
        for i, setting in enumerate(group):
            logits = np.empty((len(standard), data.outputs), np.float32)
            for fold in range(count):
                out = folds == fold
                weight, bias = solved[i * count + fold]
                logits[out] = standard[out] @ weight.T.astype(np.float32) + bias
            found[setting] = logits
    return [found[setting] for setting in grid]


def refuse_one_label(labels: Truth) -> None:
    """Raises DataError if fewer than two classes occur, or no label tells two rows apart."""
    if len(np.unique(labels, axis=0)) < 2:
        what = "number" if form(labels) == "number" else "label"
        raise DataError(
            f"all {len(labels)} training rows have the same {what}.",
            fix=f"add rows of at least one other {what}.",
        )


@dataclass(frozen=True, slots=True)
class Scale:
    """Mean and deviation of features, which a linear layer takes into itself."""

    mean: Doubles
    deviation: Doubles

    @staticmethod
    def of(features: Floats) -> "Scale":
        """Of the training rows, (rows, features).

        Raises:
            SettingError: If a value is not finite.
        """
        with np.errstate(invalid="ignore"):
            mean = features.mean(0, dtype=np.float64)
        # No sum of float32 overflows float64: a mean is finite where every row is.
        finite = np.isfinite(mean)
        if not finite.all():
            raise SettingError(
                f"{np.count_nonzero(~finite)} of {features.shape[1]} activations are not finite "
                "numbers on some row.",
                fix="choose other layers, or another backbone: this one overflows on the data.",
            )
        deviation = np.empty_like(mean)
        # A few columns at a time: NumPy takes them to float64, and there are many rows.
        for start in range(0, len(deviation), _COLUMNS):
            some = slice(start, start + _COLUMNS)
            deviation[some] = features[:, some].std(0, dtype=np.float64)
        # A constant activation carries nothing; dividing by its zero deviation would.
        return Scale(mean, np.where(deviation > 1e-8, deviation, 1.0))

    def apply(self, features: Floats) -> Floats:
        """Standardised copy, float32."""
        standard = features - self.mean.astype(np.float32)
        standard /= self.deviation.astype(np.float32)
        return standard

    def fold(self, weight: Doubles, bias: Doubles) -> tuple[Floats, Floats]:
        """The layer that does on raw features what (weight, bias) do on standardised ones."""
        folded = weight / self.deviation
        return folded.astype(np.float32), (bias - folded @ self.mean).astype(np.float32)


def _sharing(grid: Sequence[HeadSetting]) -> list[list[HeadSetting]]:
    """Distinct settings in groups that read the same features."""
    groups: dict[tuple[tuple[int, ...], bool], dict[HeadSetting, None]] = {}
    for setting in grid:
        groups.setdefault((setting.layers, setting.average), {})[setting] = None
    return [list(group) for group in groups.values()]


def read_layers(features: Floats, layers: int, average: bool) -> Floats:
    """The layers side by side, as they come, or their mean, (rows, width)."""
    if not average:
        return features
    return features.reshape(len(features), layers, -1).mean(1, dtype=np.float32)


def _standardised(data: HeadData, setting: HeadSetting) -> tuple[Scale, Floats]:
    """(rows, features) of the training rows as problems see them."""
    train = read_layers(data.train(setting.layers), len(setting.layers), setting.average)
    scale = Scale.of(train)
    if data.rescale is not None:
        scale = Scale(scale.mean, data.rescale(scale.deviation))
    return scale, scale.apply(train)


def _rotated(data: HeadData, setting: HeadSetting) -> tuple[Scale, Rotated]:
    """What problems are solved on; nothing else of that size is left when this returns."""
    scale, standard = _standardised(data, setting)
    return scale, Rotated.of(standard)


def _solve(
    data: HeadData, group: Sequence[HeadSetting], kept: Floats
) -> tuple[Scale, list[tuple[Doubles, Doubles]]]:
    """One (outputs, features), (outputs,) a setting and row of `kept`, in that order.

    Args:
        data: Rows.
        group: Settings that read the same features.
        kept: (parts, rows): 1 where a row is fitted on, else 0.
    """
    scale, rotated = _rotated(data, group[0])
    if data.labels.ndim == 2:
        return scale, _one_against_rest(rotated, data.labels, group, kept)
    if form(data.labels) == "number":
        return scale, solve_ridge(rotated, data.labels, [s.C for s in group], kept)
    present, places = np.unique(data.labels, return_inverse=True)
    by_row = np.array([s.weights for s in group], np.float32)[:, data.labels]
    problems = Problems(
        C=np.repeat([s.C for s in group], len(kept)).astype(np.float64),
        weights=(by_row[:, None, :] * kept[None, :, :]).reshape(-1, len(places)),
        labels=places.astype(np.int64),
        classes=len(present),
    )
    weights, biases = solve(rotated, problems)
    del rotated
    solved = list(zip(weights, biases, strict=True))
    if len(present) == data.outputs:
        return scale, solved
    standard = _standardised(data, group[0])[1]
    return scale, [_all_classes(*one, present, (standard, data.outputs)) for one in solved]


def _one_against_rest(
    rotated: Rotated, marks: Truth, group: Sequence[HeadSetting], kept: Floats
) -> list[tuple[Doubles, Doubles]]:
    """What `_solve` returns, of several labels a row."""
    rows, outputs = marks.shape
    yes = np.ascontiguousarray(marks.T, np.float32)  # (outputs, rows)
    more = np.array([s.weights for s in group], np.float32)[:, None, :, None] - 1.0
    # (settings, parts, outputs, rows), flat: a problem a line.
    weights = ((1.0 + more * yes) * kept[:, None, :]).reshape(-1, rows)
    several = len(weights) // outputs
    C = np.repeat([s.C for s in group], len(kept) * outputs).astype(np.float64)
    label = np.tile(np.arange(outputs), several)
    # Where all rows say the same the bias would run away: half a row is taken to say otherwise.
    having, without = (np.tile((kept @ side.T).ravel(), len(group)) for side in (yes, 1 - yes))
    told = np.flatnonzero((having > 0) & (without > 0))
    weight = np.zeros((len(weights), rotated.basis.shape[0]))
    bias = np.where(having > 0, 1.0, -1.0) * np.log(2.0 * rows)
    if len(told):
        problems = Problems.yes_or_no(C[told], weights[told], yes[label[told]])
        weight[told], bias[told] = solve_yes_or_no(rotated, problems)
    shaped = weight.reshape(several, outputs, -1), bias.reshape(several, outputs)
    return list(zip(*shaped, strict=True))


def _all_classes(
    found: Doubles, offset: Doubles, present: Labels, of: tuple[Floats, int]
) -> tuple[Doubles, Doubles]:
    """(outputs, features) and (outputs,): with the classes that have no training row."""
    standard, outputs = of
    weight, bias = np.zeros((outputs, found.shape[1])), np.zeros(outputs)
    weight[present], bias[present] = found, offset
    absent = np.setdiff1d(np.arange(outputs), present)
    # A class never seen gets about half a row's share of probability, not zero: a label that
    # turns up later must not cost an infinite log-loss.
    level = np.logaddexp.reduce(standard @ found.T + offset, axis=1).mean()
    bias[absent] = level + np.log(0.5 / len(standard))
    return weight, bias
